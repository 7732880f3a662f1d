"""The library's page: every public name, and docstrings that Sphinx can read."""

import importlib
import inspect
import io
import re

import pytest
from docutils.core import publish_doctree

import blockprune_lib as bp
from tools import api
from tools.docstrings import to_rst

PAGE = api.page()
THINGS = dict(api.things())


def test_the_page_is_up_to_date():
    assert api.PAGE.read_text(encoding="utf-8") == PAGE, "run python -m tools.api"


def test_every_public_name_is_on_it():
    lines = set(PAGE.splitlines())
    for room in api.ROOMS:
        package = importlib.import_module(f"blockprune_lib.{room}")
        for name in package.__all__:
            thing = getattr(package, name)
            kind = "class" if inspect.isclass(thing) else "function"
            there = {f"### `bp.{room}.{name}`", f".. auto{kind}:: {name}", f".. data:: {name}"}
            assert there & lines, f"{room}.{name}"
    rooms = {name for name in bp.__all__ if inspect.ismodule(getattr(bp, name))}
    told = {full.rsplit(".", 1)[1] for full in THINGS} | rooms
    assert set(bp.__all__) <= told


def test_a_room_that_is_new_has_a_place():
    stub = (api.PAGE.parent.parent / "blockprune_lib" / "__init__.pyi").read_text()
    assert set(re.findall(r"^from \. import (\w+)", stub, re.M)) == set(api.ROOMS)


@pytest.mark.parametrize("name", THINGS)
def test_its_docstring_is_read_as_it_was_meant(name):
    thing = THINGS[name]
    told = inspect.getdoc(thing.fget if isinstance(thing, property) else thing)
    said = io.StringIO()
    settings = {"report_level": 2, "warning_stream": said, "halt_level": 6}
    publish_doctree("\n".join(to_rst(told.splitlines())), settings_overrides=settings)
    assert said.getvalue() == ""
    assert "digest" not in told or "SHA" in told or "hash" in told, "cites a document that no reader has"
