"""The examples in docstrings are true, in every file of the library."""

import doctest
import importlib
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parent.parent / "blockprune_lib"
MODULES = [
    ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)
    for path in sorted(LIBRARY.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8") and path.name != "__init__.py"
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.failed == 0
