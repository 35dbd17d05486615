import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from distbp.parallel.folders import leftovers, private_folder, remove_leftovers

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


def test_folder_goes_also_while_a_process_that_was_killed_still_makes_files_in_it(tmp_path):
    writing, until = threading.Event(), []

    def write(folder):
        number = 0
        while not until or time.monotonic() < until[0]:
            with suppress(OSError):
                (folder / f"last_words_{number}").touch()
            number += 1
            writing.set()

    with private_folder(tmp_path) as folder:
        for number in range(200):
            (folder / str(number)).touch()
        thread = threading.Thread(target=write, args=(folder,))
        thread.start()
        writing.wait(60)
        until.append(time.monotonic() + 0.3)
    thread.join()
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
    for name in ("distbp-notes", "other", "distbp-of_a_man"):
        (tmp_path / name).mkdir()
    (tmp_path / "distbp-of_a_man" / "notes").touch()
    (tmp_path / "distbp-a_link__").symlink_to("other")
    for folder in tmp_path.iterdir():
        os.utime(folder, (0, 0))
    assert leftovers(tmp_path) == remove_leftovers(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 4


def test_what_ray_writes_into_a_folder_that_has_gone_is_removed_later(tmp_path):
    folder = tmp_path / "distbp-abcdefg_"
    (folder / "session_1" / "logs").mkdir(parents=True)
    assert remove_leftovers(tmp_path) == []  # somebody may be making it
    os.utime(folder, (0, 0))
    assert leftovers(tmp_path) == remove_leftovers(tmp_path) == [folder]
    assert not folder.exists()
