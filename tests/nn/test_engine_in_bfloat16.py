"""The compiled encoder in bfloat16 against the dense model in float64, and what is said where there is none."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import blockprune_lib as bp
from blockprune_lib.kernels import precision as precisions
from blockprune_lib.machine import peak
from blockprune_lib.machine.pairs import HAS_PAIRS
from blockprune_lib.nn import convert

from .test_engine import FAMILIES, TEXTS, both, encoder_of, family, states

needs_pairs = pytest.mark.skipif(not HAS_PAIRS, reason="no AVX512-BF16 here")
#: Sides whose heads and layers fill tiles of AMX, and structures that such tiles run in each of their ways.
WIDE = {"width": 64, "heads": 2, "inner": 160}
IN_TILES = ("tile:32x32", "block_column:16", "block_row:64")


def close(got: Any, wanted: Any, mask: Any = None) -> None:
    """Off by at most 2 % of the largest number, and by 0.5 % of it in the root mean square; zero where masked.

    These models have weights of 0.3 and few features, so that an error of rounding is 2^-9 of nearly every number.
    """
    shown = torch.ones(got.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    assert bool((got[~shown] == 0).all())
    if bool(shown.any()):
        off, largest = (got.double() - wanted)[shown], float(wanted[shown].abs().max())
        assert float(off.abs().max()) <= 0.02 * largest
        assert float(off.square().mean().sqrt()) <= 0.005 * largest


@needs_pairs
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("text", "sides", "tokens", "shown"), [
    ("block_column:4", {}, 21, 20), ("block_row:16", {}, 21, 20),
    *((text, WIDE, 45, 34) for text in (*IN_TILES, "irregular")),
])  # fmt: skip
def test_every_family(name, text, sides, tokens, shown):
    exact, sparse = both(name, text, "bfloat16", **sides)
    ids, mask = torch.randint(3, 60, (3, tokens)), torch.ones(3, tokens, dtype=torch.long)
    mask[1, 5:] = mask[2, shown:] = 0
    for given_mask in (None, mask):
        close(states(sparse, ids, given_mask), states(exact, ids, given_mask), given_mask)
        assert encoder_of(sparse).forward.last == "compiled"


@needs_pairs
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_every_structure_and_activation(text, activation):
    exact, sparse = both("Bert", text, "bfloat16", activation=activation)
    ids = torch.randint(3, 60, (2, 19))
    close(states(sparse, ids), states(exact, ids))
    assert encoder_of(sparse).forward.last == "compiled"


@needs_pairs
@settings(max_examples=25)
@given(
    heads=st.sampled_from([1, 2, 3]), head=st.sampled_from([8, 10, 16]), inner=st.integers(20, 90),
    text=st.sampled_from(["irregular", "block_column:5", "block_row:3", "column", "tile:7x2"]),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 9),
)  # fmt: skip
def test_any_sides_and_any_mask(heads, head, inner, text, lengths, seed):
    exact, sparse = both("Bert", text, "bfloat16", width=heads * head, heads=heads, inner=inner)
    generator = torch.Generator().manual_seed(seed)
    tokens = max(1, *lengths)
    ids = torch.randint(3, 60, (len(lengths), tokens), generator=generator)
    mask = torch.zeros(len(lengths), tokens, dtype=torch.long)
    for row, length in enumerate(lengths):  # anywhere behind the first, holes too
        mask[row, 1 + torch.randperm(tokens - 1, generator=generator)[:length]] = 1
    mask[:, 0] = 1
    close(states(sparse, ids, mask), states(exact, ids, mask), mask)
    assert encoder_of(sparse).forward.last == "compiled"


@needs_pairs
@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 512), (40, 9), (3, 301)])
def test_few_and_many_tokens(batch, tokens):
    exact, sparse = both("Bert", "block_column:16", "bfloat16")
    ids = torch.randint(3, 60, (batch, tokens))
    close(states(sparse, ids), states(exact, ids))


@needs_pairs
@pytest.mark.parametrize(("text", "sides", "tokens"), [
    *((text, {}, 21) for text in ("block_column:4", "tile:8x4", "block_row:16")),
    *((text, WIDE, tokens) for text in IN_TILES for tokens in (21, 33)),
])  # fmt: skip
def test_nan_in_one_sequence_stays_in_it(text, sides, tokens):
    _, sparse = both("Bert", text, "bfloat16", **sides)
    states_in = torch.randn(3, tokens, sparse.config.hidden_size)
    with torch.inference_mode():
        clean = sparse.encoder(states_in).last_hidden_state
        states_in[1] = torch.nan
        found = sparse.encoder(states_in).last_hidden_state
    assert sparse.encoder.forward.last == "compiled"
    assert torch.equal(found[[0, 2]], clean[[0, 2]])
    assert bool(found[1].isnan().all())


@needs_pairs
@pytest.mark.parametrize(("text", "sides", "tokens"), [
    *((text, {}, 30) for text in ("block_column:4", "irregular", "block_row:16")),
    *((text, WIDE, 50) for text in IN_TILES),
])  # fmt: skip
def test_threads_do_not_change_a_bit(text, sides, tokens):
    _, sparse = both("Bert", text, "bfloat16", **sides)
    ids = torch.randint(3, 60, (4, tokens))
    with bp.threads(1):
        alone = states(sparse, ids)
    with bp.threads(2):
        for _ in range(5):
            assert torch.equal(states(sparse, ids), alone)


@needs_pairs
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_type_changes_nothing(dtype):
    _, sparse = both("Bert", "tile:8x4", "bfloat16")
    with torch.inference_mode():
        given_states = torch.randn(2, 9, 48, dtype=torch.float32)
        wanted = sparse.encoder(given_states).last_hidden_state
        torch.set_default_dtype(dtype)
        try:
            assert torch.equal(sparse.encoder(given_states).last_hidden_state, wanted)
        finally:
            torch.set_default_dtype(torch.float32)
    assert sparse.encoder.forward.last == "compiled"


@needs_pairs
def test_layer_by_layer_the_weights_are_the_same_rounded_ones():
    _, sparse = both("Bert", "block_column:4", "bfloat16")
    for module in sparse.modules():
        if isinstance(module, bp.BlockSparseLinear):
            assert torch.equal(module.values, module.values.bfloat16().float())
    ids = torch.randint(3, 60, (2, 19))
    with torch.inference_mode():
        layers = sparse(ids, output_hidden_states=True).last_hidden_state.double()
    assert "hidden" in encoder_of(sparse).forward.last
    close(states(sparse, ids), layers)


@needs_pairs
def test_saved_it_is_smaller_and_loaded_the_same(tmp_path):
    _, sparse = both("Bert", "tile:8x4", "bfloat16")
    bp.save(sparse, tmp_path / "half")
    kinds = {name: tensor.dtype for name, tensor in load_file(tmp_path / "half/blockprune.safetensors").items()}
    assert {kind for name, kind in kinds.items() if name.endswith(".values")} == {torch.bfloat16}
    again, ids = bp.load(tmp_path / "half"), torch.randint(3, 60, (2, 19))
    assert torch.equal(states(again, ids), states(sparse, ids))
    assert encoder_of(again).forward.precision == "bfloat16"
    copied = copy.deepcopy(sparse)
    assert torch.equal(states(copied, ids), states(sparse, ids))


@needs_pairs
def test_the_size_that_is_told_is_that_of_the_file(tmp_path):
    size = {}
    for precision in ("float32", "bfloat16"):
        _, sparse = both("Bert", "tile:8x4", precision)
        size[precision] = bp.compression(sparse)
        bp.save(sparse, tmp_path / precision)
        tensors = load_file(tmp_path / precision / "blockprune.safetensors").values()
        assert size[precision].bytes_saved == sum(tensor.nbytes for tensor in tensors)
    whole, half = size["float32"], size["bfloat16"]
    assert whole.bytes_saved == whole.bytes_total == half.bytes_total
    assert half.bytes_saved < whole.bytes_saved - half.pruned[1]
    assert "saved in bfloat16" in str(half)
    assert "saved" not in str(whole)


@needs_pairs
def test_what_bfloat16_cannot_hold_is_saved_as_it_is(tmp_path):
    _, sparse = both("Bert", "tile:8x4", "bfloat16")
    layer = next(module for module in sparse.modules() if isinstance(module, bp.BlockSparseLinear))
    with torch.no_grad():
        layer.values.add_(1e-4)  # as training does
    bp.save(sparse, tmp_path / "trained")
    again = bp.load(tmp_path / "trained")
    assert torch.equal(again.state_dict()["encoder.layer.0.attention.self.query.values"], layer.values)


def test_a_model_saved_in_bfloat16_runs_on_a_machine_without(tmp_path, monkeypatch):
    _, sparse = both("Bert", "tile:8x4", "bfloat16" if HAS_PAIRS else "float32")
    bp.save(sparse, tmp_path / "half")
    missing = dataclasses.replace(precisions.PRECISIONS["bfloat16"], missing="another processor")
    monkeypatch.setitem(precisions.PRECISIONS, "bfloat16", missing)
    again, ids = bp.load(tmp_path / "half"), torch.randint(3, 60, (2, 19))
    close(states(again, ids), states(sparse, ids).double())
    assert (encoder_of(again).forward.precision, encoder_of(again).forward.last) == ("float32", "compiled")


def test_what_is_missing_is_said_before_anything_changes(monkeypatch):
    model, structure = family("Bert"), bp.BlockStructure.irregular()
    missing = dataclasses.replace(precisions.PRECISIONS["bfloat16"], missing="another processor")
    monkeypatch.setitem(precisions.PRECISIONS, "bfloat16", missing)
    with pytest.raises(ValueError, match=r"precision must be .* here; got 'bfloat16', which needs another processor"):
        bp.sparsify(model, structure, precision="bfloat16", keep_dense_above=1.0)
    assert not any(isinstance(module, bp.BlockSparseLinear) for module in model.modules())
    monkeypatch.setitem(precisions.PRECISIONS, "bfloat16", dataclasses.replace(missing, missing=""))
    with pytest.raises(ValueError, match="needs fuse=True"):
        bp.sparsify(model, structure, precision="bfloat16", keep_dense_above=1.0, fuse=False)
    plain = torch.nn.Sequential(torch.nn.Linear(8, 8))
    with pytest.raises(ValueError, match="needs an encoder of a known family"):
        bp.sparsify(plain, structure, precision="bfloat16", keep_dense_above=1.0)
    with pytest.raises(ValueError, match=r"precision must be one of float32, bfloat16, auto; got 'float16'"):
        bp.sparsify(plain, structure, precision="float16", keep_dense_above=1.0)


@pytest.mark.parametrize("fastest", ["float32", pytest.param("bfloat16", marks=needs_pairs)])
def test_auto_takes_what_is_faster(fastest, monkeypatch):
    monkeypatch.setattr(convert, "fastest_precision", lambda: fastest)
    model = bp.sparsify(family("Bert"), bp.BlockStructure.irregular(), precision="auto", keep_dense_above=1.0)
    assert encoder_of(model).forward.precision == fastest
    plain = bp.sparsify(torch.nn.Sequential(torch.nn.Linear(8, 8)), bp.BlockStructure.irregular(), precision="auto",
                        keep_dense_above=1.0)  # fmt: skip
    assert isinstance(plain[0], bp.BlockSparseLinear)


@pytest.mark.parametrize(("there", "tiles", "rounded", "single", "found"), [
    (False, False, 400.0, 100.0, "float32"), (True, False, 200.0, 100.0, "bfloat16"),
    (True, False, 120.0, 100.0, "float32"), (True, True, 1500.0, 100.0, "bfloat16"),
])  # fmt: skip
def test_the_faster_precision_is_measured(there, tiles, rounded, single, found, monkeypatch):
    class Bursts:
        def __init__(self, threads: int, *, pairs: bool = False, tiles: bool = False) -> None:
            self.asked = (pairs, tiles)

        def rates(self) -> list[float]:
            return [{(False, False): single, (not tiles, tiles): rounded}[self.asked]]

    monkeypatch.setattr(peak, "HAS_PAIRS", there)
    monkeypatch.setattr(peak, "HAS_TILES", tiles)
    monkeypatch.setattr(peak, "MultiplyAdds", Bursts)
    assert peak.fastest_precision.__wrapped__() == found


@needs_pairs
def test_an_odd_head_goes_through_the_layers():
    _, sparse = both("Bert", "irregular", "bfloat16", width=15, heads=3)
    states(sparse, torch.randint(3, 60, (2, 9)))
    assert "even number of features" in encoder_of(sparse).forward.last


@needs_pairs
def test_at_the_size_of_bert_base_logits_are_off_by_less_than_half_a_percent():
    """Weights as BERT draws them: the share that the issue of precision is about."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(num_hidden_layers=3, vocab_size=500)).eval()
    bp.prune(model, bp.BlockStructure.tile(32, 32), 5.0)
    ids = torch.randint(0, 500, (2, 50))
    with torch.inference_mode():
        wanted = copy.deepcopy(model).double()(ids).logits.numpy()
        sparse = bp.sparsify(model, bp.BlockStructure.tile(32, 32), precision="bfloat16")
        found = sparse(ids).logits.numpy()
    assert np.abs(found - wanted).max() <= 0.005 * np.abs(wanted).max()
