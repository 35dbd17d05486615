"""Run the command and send this process a signal at a planned moment.

Arguments: signal number, moment, the command's. A moment is the nth time (from 1) that an event of a kind happens:

- ``import:pyarrow:1``: the import of a module begins
- ``open:table.csv:2``: a file is opened
- ``rename:out.csv:1``: a file is about to get this name
- ``call:DataSetBuilder._append:3``: a function is called

``the moment`` is then written to stderr.
"""

import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from distbp.__main__ import main


class Moment:
    """Counts events and sends the signal at the planned one."""

    def __init__(self, number: int, moment: str) -> None:
        self._number = number
        self._kind, self._name, count = moment.split(":")
        self._left = int(count)

    def watch(self) -> None:
        if self._kind == "call":
            sys.setprofile(self._profile)
            threading.setprofile(self._profile)
        else:
            sys.addaudithook(self._audit)

    def _happened(self, kind: str, name: str) -> None:
        if kind == self._kind and name == self._name:
            self._left -= 1
            if self._left == 0:
                os.write(2, b"the moment\n")
                os.kill(os.getpid(), self._number)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import":
            self._happened("import", arguments[0])
        elif event == "open" and isinstance(arguments[0], str | bytes):
            self._happened("open", Path(os.fsdecode(arguments[0])).name)
        elif event == "os.rename":
            self._happened("rename", Path(os.fsdecode(arguments[1])).name)

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._happened("call", frame.f_code.co_qualname)


if __name__ == "__main__":
    Moment(int(sys.argv[1]), sys.argv[2]).watch()
    del sys.argv[1:3]
    main()
