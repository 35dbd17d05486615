"""Run the command in a pseudo-terminal whose screen a test can inspect, through a terminal emulator."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pyte

Screen = list[str]


def watch(
    arguments: list[str],
    folder: Path,
    columns: int,
    lines: int = 24,
    look: Callable[[Screen], tuple[int, int] | None] = lambda screen: None,
    **variables: str,
) -> tuple[int, list[Screen], bytes]:
    """Run the command in a terminal; return its exit code, every screen that was shown, and the raw bytes.

    ``look`` is called with each screen and may return a new size of the terminal, as (columns, lines).
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "distbp", *arguments],
        cwd=folder,
        stderr=theirs,
        stdout=subprocess.PIPE,
        env={**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8", **variables},
    )
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    screens, raw = [], b""
    os.close(theirs)
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        raw += part
        stream.feed(part)
        screens.append([line.rstrip() for line in screen.display])
        size = look(screens[-1])
        if size is not None:
            screen.resize(size[1], size[0])
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    os.close(ours)
    process.communicate()
    return process.returncode, screens, raw
