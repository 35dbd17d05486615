import os
from subprocess import PIPE

from processes import start_program

from distbp.system.folders import leftovers, private_folder, remove_leftovers


def test_a_folder_is_private_and_removed_at_the_end(tmp_path):
    with private_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "arrays").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_removed_even_if_a_killed_process_still_creates_files_in_it(tmp_path, monkeypatch):
    rmdir, made = os.rmdir, []

    def meddled(*given, **more):
        if len(made) < 3:
            made.append(folder / f"last_words_{len(made)}")
            made[-1].touch()
        rmdir(*given, **more)

    with private_folder(tmp_path) as folder:
        for number in range(200):
            (folder / str(number)).touch()
        monkeypatch.setattr(os, "rmdir", meddled)
    assert len(made) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_live_owner_stays(tmp_path):
    with private_folder(tmp_path) as folder:
        assert remove_leftovers(tmp_path) == []
        assert folder.is_dir()


def test_the_next_owner_removes_the_folder_of_a_killed_one(tmp_path):
    process = start_program("holds_folder", tmp_path, 1000, stdin=PIPE)
    (left,) = tmp_path.iterdir() if process.stdout.readline() else ()
    process.kill()
    process.communicate()
    assert left.is_dir()
    with private_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_folders_not_made_by_distbp_stay(tmp_path):
    for name in ("distbp-notes", "other", "distbp-of_a_man"):
        (tmp_path / name).mkdir()
    (tmp_path / "distbp-of_a_man" / "notes").touch()
    (tmp_path / "distbp-a_link__").symlink_to("other")
    for folder in tmp_path.iterdir():
        os.utime(folder, (0, 0))
    assert leftovers(tmp_path) == remove_leftovers(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 4


def test_files_that_ray_writes_into_a_removed_folder_are_removed_later(tmp_path):
    folder = tmp_path / "distbp-abcdefg_"
    (folder / "session_1" / "logs").mkdir(parents=True)
    assert remove_leftovers(tmp_path) == []  # another process may be creating it
    os.utime(folder, (0, 0))
    assert leftovers(tmp_path) == remove_leftovers(tmp_path) == [folder]
    assert not folder.exists()
