"""Two checkouts timed in turns: this one stands for both, and a wrong answer or a wrong folder is refused."""

from pathlib import Path

import pytest
import torch
from numba import config

import blockprune_lib
from tools import products

HERE = Path(__file__).resolve().parents[2]


def test_every_case_is_timed_on_both_sides(monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", config.CACHE_DIR)
    cases = list(products.cases())
    assert len(set(cases)) == len(cases)
    assert {what for *_, what in cases} == {"forward", "training"}
    old = products.library_at(HERE)
    assert old is not blockprune_lib
    for what in ("forward", "training"):
        pair = products.jobs((old, blockprune_lib), ((40, 48), "block_row:16", 3, what))
        times = products.in_turns(pair, 2)
        assert [len(side) for side in times] == [2, 2]
        assert min(min(side) for side in times) > 0


def test_other_answers_are_not_timed():
    with pytest.raises(ValueError, match="must give the same answer; they differ by 1"):
        products.in_turns([lambda: torch.ones(3), lambda: torch.zeros(3)], 2)


def test_a_folder_without_the_library_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="OLD must be a checkout"):
        products.library_at(tmp_path)
