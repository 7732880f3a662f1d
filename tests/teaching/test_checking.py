import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import blockprune_lib as bp
from blockprune_lib import chapter, plots
from blockprune_lib.teaching import Wrong, check, checking, exercise, exercises

BOOK = Path(__file__).resolve().parents[2] / "book"


def tagged(tag):
    """Every code cell of every chapter that carries *tag*, as (chapter, exercise name, source)."""
    found = []
    for path in sorted(BOOK.glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if tag in cell["metadata"].get("tags", []):
                source = "".join(cell["source"])
                name = source.rpartition('check("')[2].partition('"')[0]
                found.append(pytest.param(name, source, id=f"{path.stem}:{name}"))
    return found


def run(source):
    """Run an exercise cell with the names that the set-up cell gives, and return what its last line returns."""
    names = {"np": np, "torch": torch, "bp": bp, "plt": plt, "chapter": chapter, "plots": plots, "check": check}
    names["glue"] = lambda *_: None
    body, _, last = source.rstrip().rpartition("\n")
    exec(compile(body, "exercise", "exec"), names)
    return eval(compile(last, "exercise", "eval"), names)


@pytest.mark.parametrize(("name", "source"), tagged("exercise-solution"))
def test_solution_passes(name, source):
    verdict = run(source)
    assert verdict.passed, verdict


@pytest.mark.parametrize(("name", "source"), tagged("exercise-stub"))
def test_stub_fails_and_says_why(name, source):
    verdict = run(source)
    assert not verdict.passed
    assert verdict.message


def test_every_checker_has_one_stub_and_one_solution_in_the_book():
    stubs = sorted(param.values[0] for param in tagged("exercise-stub"))
    solutions = sorted(param.values[0] for param in tagged("exercise-solution"))
    assert stubs == solutions == checking.names()


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.setattr(exercises, "REGISTER", dict(exercises.REGISTER))

    @exercise("demo-double", "double(n)")
    def checker(answer):
        """think of addition"""
        if answer(2) == 2:
            raise Wrong("the answer returns its input", hint="double it")
        if answer(2) != 4:
            raise Wrong("twice 2 is 4")
        return "doubling works"


def test_verdicts_name_the_property_and_the_hint(demo):
    assert check("demo-double", lambda x: 2 * x).passed
    assert "doubling works" in repr(check("demo-double", lambda x: 2 * x))
    own = check("demo-double", lambda x: x)
    assert (own.passed, own.message, own.hint) == (False, "the answer returns its input", "double it")
    # The page has the exercise's hint; the verdict has one only where it knows the slip.
    assert check("demo-double", lambda x: 5).hint == ""


def test_an_answer_that_cannot_be_called_is_told_what_to_write(demo):
    assert check("demo-double", 4).message == "the answer should be a function double(n)"


def test_an_answer_that_raises_becomes_a_verdict(demo):
    verdict = check("demo-double", lambda x: 1 / 0)
    assert not verdict
    assert "ZeroDivisionError" in verdict.message


@pytest.mark.parametrize("nothing", [None, ...])
def test_no_answer_is_not_an_answer(demo, nothing):
    assert "no answer" in check("demo-double", nothing).message


def test_unknown_name_suggests_the_near_one(demo):
    with pytest.raises(ValueError, match="demo-double"):
        check("demo-duble", 1)
    with pytest.raises(TypeError, match="name"):
        check(3, 1)


def test_html_is_escaped(demo):
    html = check("demo-double", lambda x: [][0])._repr_html_()
    assert "IndexError: list index out of range" in html
    assert "bp-not-yet" in html
    assert "<br>Hint: double it" in check("demo-double", lambda x: x)._repr_html_()


def test_a_name_registered_by_two_modules_is_refused(demo):
    def other(answer):
        return None

    other.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="registered twice"):
        exercise("demo-double")(other)
