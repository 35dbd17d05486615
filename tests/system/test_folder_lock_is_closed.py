"""A removed private folder leaves no open file behind; a long-lived process would run out of them."""

import sys
from pathlib import Path

import pytest

from distbp.system.folders import private_folder


@pytest.mark.skipif(sys.platform != "linux", reason="open files are listed in /proc")
def test_a_private_folder_leaves_no_open_file(tmp_path: Path) -> None:
    def links() -> list[str]:
        return [str(place.readlink()) for place in Path("/proc/self/fd").iterdir() if place.is_symlink()]

    with private_folder(tmp_path) as folder:
        assert any(str(folder) in link for link in links())
    assert not any(str(folder) in link for link in links())
