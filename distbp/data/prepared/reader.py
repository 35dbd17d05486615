"""Open a data set on the disk: its arrays are mapped, and its description is checked."""

from __future__ import annotations

from pathlib import Path

from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import DataSet, Rows
from distbp.data.prepared.cache import CacheLock
from distbp.data.prepared.description import DESCRIPTION, check_data_set, map_part, read_description, reading_as_json
from distbp.data.reading import Reading
from distbp.data.reporting import Note, silent
from distbp.errors import DataError, RunError


def is_prepared(folder: Path) -> bool:
    """Return whether the folder is a data set that :func:`prepare` made."""
    return (folder / DESCRIPTION).is_file()


def read_prepared(folder: Path, note: Note = silent) -> DataSet:
    """Map the data set of a folder; ``note`` is told if it keeps no sums, by which damage would be found.

    Raises:
        DataError: it is damaged, or made by another version.
    """
    use = CacheLock(folder)
    try:
        told, has_sum = read_description(folder)
        sums = told.get("blocks", {})
        if has_sum != ("blocks" in told):
            raise DataError(f"{folder} is damaged: {DESCRIPTION} lacks its sum, or those of the arrays")
        if not has_sum:
            note(
                f"{folder} was prepared without sums, so damage of its rows is not found: prepare it again to have them"
            )
        preprocessing = None if told["preprocessing"] is None else Preprocessing.from_json(told["preprocessing"])
        encoding = None if preprocessing is None else preprocessing.encoding(told["dtype"])
        parts: dict[str, Rows | None] = {}
        for part in ("train", "test", "validation"):
            arrays = {end: map_part(folder, f"{part}-{end}", sums) for end in ("x", "y", "weights")}
            x, y = arrays["x"], arrays["y"]
            if x is None or y is None or not len(x) == len(y) == told["rows"][part]:
                if told["rows"][part] or part == "train":
                    raise DataError(f"{folder} is damaged: its {part} part is not complete")
                parts[part] = None
            else:
                use.keep_until_freed(x)
                parts[part] = Rows(x, y, float(told["factor"]), arrays["weights"], encoding)
        train, test = parts["train"], parts["test"]
        if train is None or test is None:
            raise DataError(f"{folder} is damaged: a part is missing")
        data = DataSet(
            told["name"], told["task"], train, test, tuple(told["classes"]), parts["validation"], preprocessing,
            told["sha256"],
        )  # fmt: skip
        check_data_set(data)
        return data
    except (KeyError, TypeError, ValueError, ArithmeticError, RunError) as error:
        if str(error).startswith(f"{folder} is damaged"):
            raise
        raise DataError(f"{folder} is damaged: {error}") from error
    finally:
        use.close()


def check_reading(folder: Path, reading: Reading) -> None:
    """Refuse to read a prepared data set in another way than it was prepared in: that was fixed then.

    Raises:
        DataError: an option says something else.
    """
    description = read_description(folder)[0]
    told = description.get("source", {}).get("reading", {})
    found = {"target": (description.get("preprocessing") or {}).get("target", {}).get("name")}
    found["task"] = description.get("task")
    usual, wanted = reading_as_json(Reading()), reading_as_json(reading)
    if told.get("standardise", True) != wanted["standardise"] and description.get("task") == "regression":
        raise DataError(f"{folder} was prepared with its values standardised, not for this cost: use the files instead")
    for name in wanted.keys() - {"seed", "standardise"}:
        if wanted[name] not in (usual[name], told.get(name), found.get(name, usual[name])):
            option = f"--{name.replace('_', '-')}"
            how = "without" if told.get(name) == usual[name] else f"with {told.get(name)} as"
            raise DataError(f"{folder} was prepared {how} {option}: leave {option} out, or prepare it again with it")
