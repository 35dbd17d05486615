import json
import os
import socket

import pytest

from distbp.errors import RunError
from distbp.files import json_checks as j
from distbp.files.json_files import read_json, read_lines, read_sealed, write_json
from distbp.files.regular import read_bytes


def refusal(path, *arguments):
    with pytest.raises(RunError) as refused:
        read_json(path, *arguments)
    text = str(refused.value)
    assert "\n" not in text and str(path) in text and len(text) < len(str(path)) + 300
    return text


def put(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as bound:  # a relative path is short enough for a socket
            bound.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


@pytest.mark.parametrize("kind", ["pipe", "folder", "zero", "socket"])
def test_only_regular_files_are_opened_and_nothing_blocks(tmp_path, kind):
    path = tmp_path / "a.json"
    put(path, kind)
    expected = {"pipe": "named pipe", "folder": "folder", "zero": "device", "socket": "socket"}[kind]
    assert f"found a {expected}, expected a regular file" in refusal(path)
    with pytest.raises(RunError, match="regular file"):
        list(read_lines(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "nested more than 32"),
        ('{"a":' + "[" * 5000 + "]" * 5000 + "}", "nested more than 32"),
        ('{"a":' + "[" * 40 + "]" * 40 + "}", "nested more than 32"),
        ('{"a": ' + "9" * 10_000 + "}", "10,000 digits"),
        ('{"a": 1' + "0" * 400 + "}", "401 digits"),
        ('{"a": 1e400}', "1e400"),
        ('{"a": 0.' + "1" * 5000 + "}", "64 bits hold"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        ("[1]", "found a list, expected a JSON object"),
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
    ],
)
def test_json_that_is_invalid_or_beyond_the_limits_gives_one_line(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert said in refusal(path)


def test_invalid_utf8_and_files_that_are_too_long_are_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\xff\xfe"}')
    assert "utf-8" in refusal(path)
    with path.open("wb") as file:
        file.truncate(30 << 30)
    assert "more than 1,000 bytes" in refusal(path, j.anything, 1000)
    with pytest.raises(RunError, match="more than 10 bytes"):
        read_bytes(path, 10)
    with pytest.raises(RunError, match="a line of more than"):
        list(read_lines(path))


def test_a_written_file_is_read_and_any_change_is_detected(tmp_path):
    path = tmp_path / "a.json"
    content = {"lr": 0.1, "names": ["a", "é", "\udc80"], "large": 2**64 - 1, "none": None, "deep": {"10": 1, "9": -0.0}}
    write_json(path, content)
    assert read_sealed(path) == (content, True)
    told = path.read_text()
    assert "damaged" in (path.write_text(told.replace("0.1", "0.3")), refusal(path))[1]
    path.write_text(json.dumps(json.loads(told)))  # whitespace does not change the content
    assert read_sealed(path) == (content, True)
    path.write_text(json.dumps(content))
    assert read_sealed(path) == (content, False)


SHAPE = j.record(
    {"sizes": j.list_of(j.whole(1), least=2), "cost": j.text(20)},
    {"rate": j.or_null(j.number(0)), "kind": j.one_of("a", "b"), "on": j.flag, "costs": j.names_to(j.number())},
    is_open=False,
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"sizes": [1], "cost": "mse"}, "sizes: found a list, expected a list of at least 2"),
        ({"sizes": [1, "x"], "cost": "mse"}, "sizes[1]: found 'x', expected a whole number from 1"),
        ({"sizes": [1, True], "cost": "mse"}, "sizes[1]: found true, expected a whole number"),
        ({"sizes": [1, 2.0], "cost": "mse"}, "sizes[1]: found 2.0"),
        ({"sizes": [1, 2]}, "cost: found nothing"),
        ({"sizes": [1, 2], "cost": "A" * 5000}, "of 5,000 characters"),
        ({"sizes": [1, 2], "cost": "\ud800"}, "text that UTF-8 can hold"),
        ({"sizes": [1, 2], "cost": "mse", "rate": -1}, "rate: found -1, expected a number from 0"),
        ({"sizes": [1, 2], "cost": "mse", "kind": []}, "kind: found a list, expected one of a, b"),
        ({"sizes": [1, 2], "cost": "mse", "on": 1}, "on: found 1, expected true or false"),
        ({"sizes": [1, 2], "cost": "mse", "costs": {"x": None}}, "costs.x: found null"),
        ({"sizes": [1, 2], "cost": "mse", "other": None}, "found the name 'other', expected sizes, cost"),
    ],
)
def test_wrong_types_and_ranges_are_named_with_their_place(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    assert said in refusal(path, SHAPE)
