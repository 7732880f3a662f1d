"""The compiled encoder in tiles of AMX, beyond what `test_engine_in_bfloat16` asks of any: sides, calls, the choice."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import blockprune_lib as bp
from blockprune_lib.kernels import precision as precisions
from blockprune_lib.machine.amx_tiles import HAS_TILES
from blockprune_lib.nn import convert

from .test_engine import both, encoder_of, family, states
from .test_engine_in_bfloat16 import WIDE, close

needs_tiles = pytest.mark.skipif(not HAS_TILES, reason="no AMX here")


@needs_tiles
@settings(max_examples=20)
@given(
    heads=st.sampled_from([1, 2]), head=st.sampled_from([16, 32, 64]), inner=st.integers(32, 200),
    text=st.sampled_from(["irregular", "block_column:16", "block_row:16", "column", "tile:16x16"]),
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=4), seed=st.integers(0, 9),
)  # fmt: skip
def test_any_sides_and_lengths(heads, head, inner, text, lengths, seed):
    exact, sparse = both("Bert", text, "bfloat16", width=heads * head, heads=heads, inner=inner)
    ids = torch.randint(3, 60, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    close(states(sparse, ids, mask), states(exact, ids, mask), mask)


@needs_tiles
def test_tiles_outlive_other_code_between_calls():
    """The configuration of tiles is of one call: whatever torch does in between may change it."""
    exact, sparse = both("Bert", "tile:32x32", "bfloat16", **WIDE)
    ids = torch.randint(3, 60, (2, 40))
    for _ in range(3):
        close(states(sparse, ids), states(exact, ids))
        torch.randn(64, 64).bfloat16() @ torch.randn(64, 64).bfloat16()


def test_auto_takes_float32_where_groups_do_not_fill_tiles(monkeypatch):
    monkeypatch.setattr(convert, "fastest_precision", lambda: "bfloat16")
    model, structure = family("Bert"), bp.BlockStructure.irregular()
    for slower, chosen in ((True, "float32"), *([(False, "bfloat16")] if HAS_TILES else [])):
        monkeypatch.setattr(convert, "slower_in_tiles", lambda matrices, slower=slower: slower)
        found = bp.sparsify(copy.deepcopy(model), structure, precision="auto", keep_dense_above=1.0)
        assert encoder_of(found).forward.precision == chosen


@pytest.mark.parametrize(("text", "rate", "slower"), [("tile:32x32", 5.0, False), ("block_column:4", 5.0, False),
                                                      ("block_column:4", 50.0, True)])  # fmt: skip
def test_what_is_modelled_slower(text, rate, slower, monkeypatch):
    monkeypatch.setattr(precisions, "HAS_TILES", True)
    structure = bp.BlockStructure.parse(text)
    linear = torch.nn.Sequential(torch.nn.Linear(768, 768))
    bp.prune(linear, structure, rate)
    packed = bp.sparsify(linear, structure, keep_dense_above=1.0)[0].packed
    assert precisions.slower_in_tiles([packed]) is slower
    monkeypatch.setattr(precisions, "HAS_TILES", False)
    assert not precisions.slower_in_tiles([packed])
