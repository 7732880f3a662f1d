"""Whose a folder of runs is: one recipe's, also where several begin in it at the same moment."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from blockprune_lib._common import files
from blockprune_lib.experiments.claim import claimed
from blockprune_lib.experiments.recipe import plan

RECIPE = {"task": "rte", "structure": "block_row:64", "rate": 5}


def test_numbers_of_numpy_in_a_recipe_are_written_as_numbers(tmp_path):
    asked = {"task": "rte", "structure": "block_row:64", "rate": np.float32(5), "seed": [*np.arange(2)]}
    with claimed(tmp_path, asked):
        pass
    assert json.loads((tmp_path / "recipe.json").read_text()) == asked | {"rate": 5.0, "seed": [0, 1]}
    assert [run.seed for run in plan(asked)] == [0, 1]


def test_of_several_recipes_that_begin_at_once_one_has_the_folder(tmp_path):
    """Threads stand for processes: each opens the locks anew. All are in before the first one leaves."""
    begin, tried = threading.Barrier(8), threading.Barrier(8)

    def work(rate):
        begin.wait()
        try:
            with claimed(tmp_path / "runs", RECIPE | {"rate": rate}):
                tried.wait()
                return rate
        except ValueError as refused:
            tried.wait()
            return str(refused)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, [2, 3] * 4))
    (won,) = {one for one in found if isinstance(one, int)}
    assert found.count(won) == 4  # the same recipe may be started several times
    assert json.loads((tmp_path / "runs" / "recipe.json").read_text()) == RECIPE | {"rate": won}
    for refused in (one for one in found if isinstance(one, str)):
        assert f"holds another run (--extend adds to it): rate is {won} there, {5 - won} here; name another" in refused


def test_whoever_works_in_a_folder_keeps_it_until_a_stage_has_begun_and_longer(tmp_path):
    other = RECIPE | {"rate": 2}
    with (
        claimed(tmp_path, RECIPE),
        pytest.raises(ValueError, match="rate is 5 there, 2 here"),
        claimed(tmp_path, other),
    ):
        pass
    with claimed(tmp_path, other):  # nobody works there, and nothing was begun
        assert json.loads((tmp_path / "recipe.json").read_text()) == other
        with claimed(tmp_path, RECIPE, extend=True):
            pass
        (tmp_path / "stages").mkdir()
        (tmp_path / "stages" / "rte-fine-tune").mkdir()
    with pytest.raises(ValueError, match="rate is 5 there, 2 here"), claimed(tmp_path, other):
        pass


def test_a_file_of_something_else_that_comes_between_is_seen(tmp_path):
    (tmp_path / "recipe.lock").touch()
    (tmp_path / "in-use.lock").touch()
    (tmp_path / "uv.lock").write_text("")
    with pytest.raises(ValueError, match=r"holds files of something else \(uv.lock\)"), claimed(tmp_path, RECIPE):
        pass


def test_a_folder_in_which_much_was_done_is_not_written_to(tmp_path, monkeypatch):
    with claimed(tmp_path, RECIPE):
        (tmp_path / "records" / "one.json").touch()

    def refused(*_):
        raise AssertionError

    monkeypatch.setattr(files.os, "replace", refused)
    for name in ("recipe.lock", "in-use.lock"):
        (tmp_path / name).unlink()
    with claimed(tmp_path, RECIPE):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.json", "records"]
