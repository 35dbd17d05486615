"""Take a lock after a line on stdin and hold it until stdin ends. Argument: the lock's path."""

import sys
from pathlib import Path

from distbp.errors import HeldError
from distbp.files.locks import locked


def note(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    sys.stdin.readline()
    try:
        with locked(path, path.parent, note):
            print("held", flush=True)
            sys.stdin.read()
    except HeldError:
        print("refused", flush=True)
