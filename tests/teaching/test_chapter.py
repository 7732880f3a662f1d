import json
import random

import numpy as np
import pytest
import torch

from blockprune_lib import chapter
from blockprune_lib.machine import hardware
from blockprune_lib.machine.comparison import Comparison, Timing


def test_begin_makes_every_generator_repeat():
    drawn = []
    for _ in range(2):
        chapter.begin(seed=7)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(1))))  # noqa: NPY002
    assert drawn[0] == drawn[1]


def test_sentences_show_as_they_read():
    sentence = chapter.say("between **3** and 4")
    assert repr(sentence) == sentence._repr_markdown_() == "between **3** and 4"


def test_a_table_is_aligned_text_and_escaped_html():
    table = chapter.table(["", "a<b"], [["one", 1], ["two", 2.5]], "what it counts")
    assert repr(table).splitlines() == ["     a<b", "one    1", "two  2.5", "what it counts"]
    assert "<td>2.5</td>" in table._repr_html_()
    assert "a&lt;b" in table._repr_html_()
    assert "<caption>what it counts</caption>" in table._repr_html_()
    with pytest.raises(ValueError, match="rows must have 2 cells as head has; got 1"):
        chapter.table(["", "a"], [["one"]], "nothing")


def test_passport_is_one_line_with_details_to_unfold():
    passport = chapter.Passport("A CPU, 2 cores", {"processor": "A <CPU>", "peak, one core": "98.1 GFLOP/s"})
    html = passport._repr_html_()
    assert "<summary>" in html
    assert "A &lt;CPU&gt;" in html
    assert "98.1" in html
    assert repr(passport) == "A CPU, 2 cores"


def test_the_passport_of_a_page_says_what_the_machine_says_of_itself():
    details = chapter.passport().details
    assert details == dict(hardware().rows())
    assert "_" not in "".join(details)  # names in words, not those of fields


def test_glue_keeps_text_without_quotes():
    chapter.glue("name", "3.1 times")  # outside a notebook nothing is shown
    assert repr(chapter.Text("3.1 times")) == "3.1 times"


def test_glued_tells_what_glue_was_given_and_what_was_not_run():
    chapter.glue("times", "3.1 times")
    lines = repr(chapter.glued("times", "never-glued")).splitlines()
    assert lines[1].split(maxsplit=1) == ["times", "3.1 times"]
    assert lines[2].split(maxsplit=1) == ["never-glued", "not run"]


def test_a_record_says_where_its_numbers_came_from(tmp_path, monkeypatch):
    monkeypatch.delenv("BLOCKPRUNE_RECORD", raising=False)
    assert repr(chapter.record("a-page", {"ms": 3.5})) == ""
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("BLOCKPRUNE_RECORD", str(tmp_path))
    assert repr(chapter.record("a-page", {"ms": 3.5})) == "Recorded as `a-page.json`."
    kept = json.loads((tmp_path / "a-page.json").read_text())
    assert kept["figures"] == {"ms": 3.5}
    assert {"commit", "changed", "versions", "date"} <= set(kept["provenance"])
    assert kept["hardware"]["cpu"]


def _comparison(*samples: float) -> Comparison:
    return Comparison({"call": Timing("call", samples, 1)}, "call", {"torch": 1}, 0, 0)


def test_a_disturbed_comparison_is_made_again_until_it_is_steady():
    made = iter([_comparison(1, 1, 1, 9, 9), _comparison(2, 2, 2, 2, 2), _comparison(3, 3, 3, 3, 3)])
    assert chapter.steady(lambda: next(made)).medians == {"call": 2}
    assert next(made).medians == {"call": 3}  # an undisturbed one is enough


def test_of_disturbed_comparisons_the_least_disturbed_is_kept():
    made = [_comparison(1, 1, 1, 9, 9), _comparison(2, 2, 2, 4, 4), _comparison(1, 1, 1, 5, 5)]
    kept = chapter.steady(iter(made).__next__)
    assert kept is made[1]
    assert "Disturbed, since its quartiles lie far apart: call (2.0 times)" in repr(kept)
    with pytest.raises(ValueError, match="tries must be a whole number of at least 1"):
        chapter.steady(lambda: made[0], tries=0)
