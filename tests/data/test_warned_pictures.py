"""Pictures that Pillow reads with a warning are read as if it had said nothing."""

import struct
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from distbp.data import load

image = pytest.importorskip("PIL.Image")

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def animated_without_frames(path: Path) -> None:
    """Write a PNG that says of itself that it is an animation, of no pictures."""
    image.fromarray(PIXELS).save(path)
    content = path.read_bytes()
    place = content.index(b"IDAT") - 4
    body = b"acTL" + struct.pack(">II", 0, 0)
    path.write_bytes(content[:place] + struct.pack(">I", 8) + body + struct.pack(">I", crc32(body)) + content[place:])
    with pytest.warns(UserWarning, match="Invalid APNG"):
        image.open(path).close()


def see_through(path: Path) -> None:
    """Write a palette of colours that are more or less transparent."""
    image.fromarray(PIXELS).convert("P").save(path, transparency=bytes([0, 128] * 5))
    with image.open(path) as picture, pytest.warns(UserWarning, match="Palette images with Transparency"):
        picture.convert("RGB")


@pytest.mark.parametrize("write", [animated_without_frames, see_through])
def test_what_pillow_warns_of_is_read_in_silence(tmp_path: Path, write: Callable[[Path], None]) -> None:
    for label in ("a", "b"):
        for number in range(10):
            (tmp_path / label).mkdir(exist_ok=True)
            write(tmp_path / label / f"{number}.png")
    data = load(tmp_path)  # every warning is an error here
    assert len(data.train) + len(data.test) == 20
    assert np.asarray(data.train.x[0]).reshape(8, 8, -1)[..., 0].tolist() == PIXELS.tolist()
