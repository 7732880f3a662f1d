"""The library's pages: every public name, and docstrings that Sphinx can read."""

import ast
import importlib
import inspect
import io
import operator
import re

import pytest
import yaml
from docutils.core import publish_doctree

import blockprune_lib as bp
from tools import api, api_names
from tools.docstrings import to_rst
from tools.library_links import links

PAGES = api.pages()
TEXT = "".join(PAGES.values())
THINGS = dict(api.things())


def test_the_pages_are_up_to_date():
    assert api.stale(PAGES) == [], "run python -m tools.api"


def test_a_page_that_differs_or_is_of_no_package_is_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "BOOK", tmp_path)
    assert api.stale({"api.md": "", "api/a.md": "x"}) == ["api.md", "api/a.md"]
    (tmp_path / "api").mkdir()
    for path, text in (("api.md", ""), ("api/a.md", "y"), ("api/gone.md", "")):
        (tmp_path / path).write_text(text)
    assert api.stale({"api.md": "", "api/a.md": "x"}) == ["api/a.md", "api/gone.md"]


def test_a_package_has_a_page_that_the_contents_and_the_first_page_lead_to():
    toc = yaml.safe_load((api.BOOK.parent / "_toc.yml").read_text(encoding="utf-8"))
    [sections] = [page["sections"] for part in toc["parts"] for page in part["chapters"] if page["file"] == "api"]
    assert ["api.md", *(f"{page['file']}.md" for page in sections)] == list(PAGES)
    assert re.findall(r"\]\((api/\w+\.md)\)", PAGES["api.md"]) == list(PAGES)[1:]


def test_every_public_name_is_on_it():
    for room in api.ROOMS:
        lines = set(PAGES[f"api/{room}.md"].splitlines())
        package = importlib.import_module(f"blockprune_lib.{room}")
        for name in package.__all__:
            thing = getattr(package, name)
            kind = "class" if inspect.isclass(thing) else "function"
            there = {f"## `bp.{room}.{name}`", f".. auto{kind}:: {name}", f".. data:: {name}"}
            assert there & lines, f"{room}.{name}"
    rooms = {name for name in bp.__all__ if inspect.ismodule(getattr(bp, name))}
    told = {full.rsplit(".", 1)[1] for full in THINGS} | rooms
    assert set(bp.__all__) <= told


def test_every_common_name_has_a_call_whose_arguments_it_takes():
    calls = [call for told in api_names.COMMON.values() for call in told]
    names = {name for name in bp.__all__ if not inspect.ismodule(getattr(bp, name))}
    assert {api_names.name_of(call) for call in calls} == names
    assert len(calls) == len(names)
    for call in calls:
        path, _, arguments = call.removesuffix(")").partition("(")
        taken = inspect.signature(operator.attrgetter(path)(bp)).parameters
        given = arguments.split(", ") if arguments else []
        known = {*taken, *({"model"} if "model_or_params" in taken else ())}
        assert set(given) <= known, call
        needed = [one for one in taken.values() if one.default is one.empty and one.kind.name in _ONE]
        assert len(given) >= len(needed) - ("self" in taken), call


_ONE = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY")


def test_a_room_that_is_new_has_a_place():
    stub = (api.BOOK.parent / "blockprune_lib" / "__init__.pyi").read_text()
    assert set(re.findall(r"^from \. import (\w+)", stub, re.M)) == set(api.ROOMS)


def test_what_calls_return_is_told_once():
    classes = re.findall(r"^\.\. autoclass:: (\w+)", TEXT, re.M)
    assert {"Verdict", "Attainable", "Chosen", "Sensitivity"} <= set(classes)
    assert len(THINGS) == len(set(THINGS))
    hints = [thing for name, thing in THINGS.items() if inspect.isfunction(thing)]
    returned = {kind for thing in hints for kind in api._classes(api._hints(thing))}
    ours = {kind.__name__ for kind in returned if kind.__module__.startswith("blockprune_lib")}
    assert ours - {"Settings"} <= set(classes)


def test_the_tour_names_what_there_is():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(blocks) == 2
    for node in ast.walk(ast.parse("".join(blocks))):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("bp."):
            operator.attrgetter(ast.unparse(node).removeprefix("bp."))(bp)


@pytest.mark.parametrize("name", THINGS)
def test_a_bare_word_leads_to_no_method_of_another_class(name):
    found, classes = links(name, THINGS[name]), {full for full, thing in THINGS.items() if inspect.isclass(thing)}
    for short, full in found.items():
        home = full.rpartition(".")[0]
        assert "." in short or home not in classes or name in (home, f"{home}.{name.rpartition('.')[2]}"), (short, full)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("nn.Cut", ["rate", "structure"]),
        ("nn.BlockSparseLinear", ["columns", "offsets", "values"]),
        ("pruning.Masks", ["structures", "structure"]),
        ("machine.Comparison", ["threads"]),
    ],
)
def test_attributes_are_no_links(where, words):
    name = f"blockprune_lib.{where}"
    assert not set(words) & set(links(name, THINGS[name]))


def test_functions_classes_and_methods_of_the_same_class_are_links():
    name = "blockprune_lib.nn.Budget"
    found = links(name, THINGS[name])
    assert found["retrain"] == found["bp.retrain".removeprefix("bp.")] == "blockprune_lib.training.retrain"
    assert found["measure"] == f"{name}.measure"
    assert found["Masks.keep"] == "blockprune_lib.pruning.Masks.keep"


@pytest.mark.parametrize("name", THINGS)
def test_its_docstring_is_read_as_it_was_meant(name):
    thing = THINGS[name]
    told = inspect.getdoc(thing.fget if isinstance(thing, property) else thing)
    said = io.StringIO()
    settings = {"report_level": 2, "warning_stream": said, "halt_level": 6}
    publish_doctree("\n".join(to_rst(told.splitlines())), settings_overrides=settings)
    assert said.getvalue() == ""
    assert "digest" not in told or "SHA" in told or "hash" in told, "cites a document that no reader has"
