"""Checkpoints that are cut or flipped, whose writer is killed, or that do not fit on the disk."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from processes import run_program, start_program

from distbp.errors import RunError
from distbp.runs.checkpoint_writer import CheckpointWriter
from distbp.runs.checkpoints import Checkpoint, newest_checkpoint, read_checkpoint, write_checkpoint


def checkpoint(step=7, parameters=5, dtype="float32"):
    state = np.random.default_rng(step).random((3, parameters)).astype(dtype)
    return Checkpoint(step, state, ("mean", "square"), {"epoch": {"rows": 3, "cost": 0.1}, "recoveries": 0})


def held():
    """Pass the check of the lock."""


def same(one, other):
    assert one.step == other.step
    assert one.state.tobytes() == other.state.tobytes()
    assert one.state.dtype == other.state.dtype
    assert tuple(one.slots) == tuple(other.slots)
    assert one.described["epoch"] == other.described["epoch"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, dtype):
    written = checkpoint(dtype=dtype)
    same(read_checkpoint(write_checkpoint(tmp_path, written)), written)


def test_the_newest_three_are_kept(tmp_path):
    for step in (1, 2, 10, 300):
        write_checkpoint(tmp_path, checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:010d}.safetensors" for step in (2, 10, 300)
    ]


def test_later_checkpoints_do_not_displace_a_new_one_after_a_rollback(tmp_path):
    for step in (100, 200, 300):
        write_checkpoint(tmp_path, checkpoint(step)).write_bytes(b"damaged")
    path = write_checkpoint(tmp_path, checkpoint(50))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3"])
def test_a_type_that_distbp_never_writes_is_refused(tmp_path, kind):
    header = json.dumps({"weights": {"dtype": kind, "shape": [2], "data_offsets": [0, 4 if kind == "BF16" else 2]}})
    content = len(header).to_bytes(8, "little") + header.encode() + bytes(4 if kind == "BF16" else 2)
    (tmp_path / "step-0000000001.safetensors").write_bytes(content)
    with pytest.raises(RunError):
        read_checkpoint(tmp_path / "step-0000000001.safetensors")


def test_every_flipped_byte_is_noticed_or_changes_nothing(tmp_path):
    written = checkpoint()
    path = write_checkpoint(tmp_path, written)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            found = read_checkpoint(path)
        except RunError as error:
            assert str(path) in str(error)
        else:
            same(found, written)


def test_every_cut_is_noticed(tmp_path):
    path = write_checkpoint(tmp_path, checkpoint())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError):
            read_checkpoint(path)


def test_the_newest_good_checkpoint_is_used_and_damaged_ones_are_noted(tmp_path):
    paths = [write_checkpoint(tmp_path, checkpoint(step)) for step in (1, 2, 3)]
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    paths[1].write_bytes(b"")
    told = []
    same(newest_checkpoint(tmp_path, told.append), checkpoint(1))
    assert [str(path) in text for path, text in zip(paths[:0:-1], told, strict=True)] == [True, True]
    paths[0].unlink()
    assert newest_checkpoint(tmp_path, told.append) is None


def test_the_writer_writes_the_newest_checkpoint_offered(tmp_path):
    writer = CheckpointWriter(tmp_path, pytest.fail, held)
    for step in range(50):
        writer.offer(checkpoint(step))
    writer.close()
    writer.close()
    same(newest_checkpoint(tmp_path, pytest.fail), checkpoint(49))


def test_a_failing_writer_notes_it_once_and_keeps_the_last_good_checkpoint(tmp_path):
    folder, told = tmp_path / "checkpoints", []
    folder.mkdir()

    def offer(step):
        writer.offer(checkpoint(step))
        writer.wait()
        writer.offer(replace(checkpoint(step)))  # notes a failure of the one before
        writer.wait()

    writer = CheckpointWriter(folder, told.append, held)
    offer(1)
    folder.rename(tmp_path / "away")
    offer(2)
    offer(3)
    assert len(told) == 1
    assert "the last good one is of step 1; the run goes on" in told[0]
    (tmp_path / "away").rename(folder)
    offer(4)
    folder.rename(tmp_path / "away")
    offer(5)
    assert len(told) == 2
    (tmp_path / "away").rename(folder)
    writer.close()


def test_a_full_disk_costs_a_warning_and_leaves_no_partial_file(tmp_path):
    done = run_program("fills_checkpoints", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the last good one is of step 1" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001.safetensors"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_keeps_the_last_good_checkpoint(tiny_disk):
    told = []
    writer = CheckpointWriter(tiny_disk, told.append, held)
    for step in range(10):
        writer.offer(checkpoint(step, parameters=1500))
        writer.wait()
    writer.close()
    assert len(told) == 1
    assert "No space left" in told[0]
    told.clear()
    assert newest_checkpoint(tiny_disk, told.append).step >= 2
    assert told == []
    assert not list(tiny_disk.glob(".*"))


def test_a_writer_that_is_killed_leaves_whole_checkpoints(tmp_path):
    for _ in range(3):
        process = start_program("writes_checkpoints", tmp_path)
        process.stdout.readline()
        process.kill()
        process.communicate()
        for path in tmp_path.glob("step-*"):
            assert read_checkpoint(path).state[0, 0] == int(path.stem[5:])
    (tmp_path / ".step-0000000001.safetensors.1").write_bytes(b"half")
    (tmp_path / ".tmpAb3dEf").write_bytes(b"half")
    write_checkpoint(tmp_path, checkpoint(10**7))
    assert not list(tmp_path.glob(".*"))
