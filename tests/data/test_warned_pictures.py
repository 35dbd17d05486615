"""Images that Pillow reads with a warning are read without one."""

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
    """Write a PNG that claims to be an animation but has no frames."""
    image.fromarray(PIXELS).save(path)
    content = path.read_bytes()
    place = content.index(b"IDAT") - 4
    body = b"acTL" + struct.pack(">II", 0, 0)
    path.write_bytes(content[:place] + struct.pack(">I", 8) + body + struct.pack(">I", crc32(body)) + content[place:])
    with pytest.warns(UserWarning, match="Invalid APNG"):
        image.open(path).close()


def see_through(path: Path) -> None:
    """Write an image whose palette has partly transparent colours."""
    image.fromarray(PIXELS).convert("P").save(path, transparency=bytes([0, 128] * 5))
    with image.open(path) as picture, pytest.warns(UserWarning, match="Palette images with Transparency"):
        picture.convert("RGB")


@pytest.mark.parametrize("write", [animated_without_frames, see_through])
def test_images_that_pillow_warns_about_are_read_without_a_warning(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    for label in ("a", "b"):
        for number in range(10):
            (tmp_path / label).mkdir(exist_ok=True)
            write(tmp_path / label / f"{number}.png")
    data = load(tmp_path)  # tests turn every warning into an error
    assert len(data.train) + len(data.test) == 20
    assert np.asarray(data.train.x[0]).reshape(8, 8, -1)[..., 0].tolist() == PIXELS.tolist()
