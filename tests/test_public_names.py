import inspect
import pydoc
from importlib import import_module
from pathlib import Path

import pytest

import distbp

PACKAGE = Path(distbp.__file__).parent


@pytest.mark.parametrize("name", distbp.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    thing = getattr(distbp, name)
    if not isinstance(thing, str):
        assert inspect.getdoc(thing)


@pytest.mark.parametrize("module", ["distbp.sklearn", "distbp.interchange", "distbp.tracking"])
def test_public_names_of_submodules_are_documented(module: str) -> None:
    pytest.importorskip("sklearn")
    home = import_module(module)
    assert home.__all__
    assert all(inspect.getdoc(getattr(home, name)) for name in home.__all__)


def test_help_begins_with_the_most_important_names() -> None:
    text = pydoc.render_doc(distbp, renderer=pydoc.plaintext)
    assert "Start with" in text[:600]
    assert all(name in text for name in distbp.__all__ if name != "__version__")


def test_no_public_name_is_missing_from_the_list() -> None:
    assert sorted(distbp.__all__) == sorted(dir(distbp))


def test_the_list_agrees_with_the_imports_for_type_checkers() -> None:
    source = (PACKAGE / "__init__.py").read_text()
    assert all(f"import {name} as {name}\n" in source for name in distbp.__all__ if name != "__version__")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="trane"):
        distbp.trane  # noqa: B018
