"""Hypothesis strategies for damaged files: flipped bits, cuts, and values of other types."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from distbp.files.json_text import SUM, sealed

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    2**63,
    1.5,
    -0.0,
    1e-320,
    1e308,
    "",
    "x",
    "A" * 5000,
    "\ud800",
    "\0",
    "<b>",
    [],
    {},
    [None],
    [[]],
    {"a": None},
    [1, 2, 3],
]
"""Values of all types, many of them extreme."""


_INSERTED = [b"[" * 10_000, b"9" * 400, b"NaN", b"\xff", b"\0", b'"', b"{", b"\n"]


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Flip a bit, cut off the end, remove or insert some bytes, or set some to zero."""
    kind = draw(st.sampled_from(["flip", "flip", "cut", "lose", "insert", "zeros"]))
    place = draw(st.integers(0, max(0, len(content) - 1)))
    changed = bytearray(content)
    if kind == "flip":
        changed[place] ^= 1 << draw(st.integers(0, 7))
    elif kind == "cut":
        del changed[place:]
    elif kind == "lose":
        del changed[place : place + draw(st.sampled_from([1, 2, 8, 100]))]
    elif kind == "insert":
        changed[place:place] = draw(
            st.sampled_from([b"[" * 10_000, b"9" * 400, b"NaN", b"\xff", b"\0", b'"', b"{", b"\n"])
        )
    else:
        size = draw(st.sampled_from([1, 8, 64]))
        changed[place : place + size] = bytes(len(changed[place : place + size]))
    return bytes(changed)


@st.composite
def other_types(draw: st.DrawFn, content: Any) -> Any:
    """Replace, remove or nest one value of a JSON object."""
    content = copy.deepcopy(content)
    inner: Any = content
    while True:
        places = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        place = draw(st.sampled_from(places))
        below = inner[place]
        if isinstance(below, dict | list) and below and draw(st.integers(0, 3)):
            inner = below
            continue
        kind = draw(st.sampled_from(["value", "value", "value", "nest", "gone"]))
        if kind == "gone":
            del inner[place]
        else:
            inner[place] = draw(st.sampled_from(VALUES)) if kind == "value" else [[[[below]]]]
        return content


def as_made(content: dict[str, Any], **form: Any) -> bytes:
    """Return an object as a file with a valid checksum, so that only its content can be wrong."""
    content = {name: value for name, value in content.items() if name != SUM}
    return json.dumps(sealed(content), **form).encode("utf-8", "surrogatepass")
