import os
import signal
import subprocess
import sys

from distbp.parallel.folders import private_folder, remove_leftovers

OWNER = """
import sys, time
from pathlib import Path
from distbp.parallel.folders import private_folder
with private_folder(Path(sys.argv[1])) as folder:
    (folder / "arrays").write_bytes(b"x" * 1000)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_folder_is_for_its_user_alone_and_goes_at_the_end(tmp_path):
    with private_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "arrays").touch()
    assert list(tmp_path.iterdir()) == []


def test_folder_of_a_living_owner_stays(tmp_path):
    with private_folder(tmp_path) as folder:
        assert remove_leftovers(tmp_path) == []
        assert folder.is_dir()


def test_folder_of_a_killed_owner_goes_when_the_next_one_comes(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process, process.stdout:
        assert process.stdout.readline() == "ready\n"
        (left,) = tmp_path.iterdir()
        os.kill(process.pid, signal.SIGKILL)
    assert left.is_dir()
    with private_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_folders_of_others_stay(tmp_path):
    (tmp_path / "distbp-notes").mkdir()
    (tmp_path / "other").mkdir()
    assert remove_leftovers(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 2
