"""A sparse model moved to another float type: compiled where it can be, the same result, and never a word too many."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from typing import Any

import pytest
import torch

import blockprune_lib as bp
from blockprune_lib.kernels import DenseProductWarning, dense_path
from blockprune_lib.kernels import precision as precisions
from blockprune_lib.machine.pairs import HAS_PAIRS

from ..helpers.references import structure_texts
from .test_engine import FAMILIES, encoder_of, family, states

TEXTS = structure_texts((4, 3))
#: How far an output may be off, in the largest output: float16 runs in float32, bfloat16 rounds what it multiplies.
ALLOWED = {torch.float16: 2e-3, torch.bfloat16: 0.03, torch.float64: 1e-12}
SHORT = (torch.float16, torch.bfloat16)


def pair(name: str, text: str, dtype: torch.dtype, precision: str = "float32", **sides: Any) -> tuple[Any, Any]:
    """The pruned dense model in float64, its weights rounded to `dtype`, and the block-sparse one in `dtype`."""
    model, structure = family(name, **sides), bp.BlockStructure.parse(text)
    bp.prune(model, structure, 3.0)
    exact = copy.deepcopy(model).to(dtype).double()
    return exact, bp.sparsify(model, structure, keep_dense_above=1.0, precision=precision).to(dtype)


def ids_and_mask() -> tuple[Any, Any]:
    mask = torch.ones(3, 21, dtype=torch.long)
    mask[1, 5:] = mask[2, 20:] = 0
    return torch.randint(3, 60, (3, 21)), mask


def close(got: Any, wanted: Any, allowed: float, mask: Any = None) -> None:
    shown = torch.ones(got.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    assert float((got.double() - wanted)[shown].abs().max()) <= allowed * float(wanted[shown].abs().max())


@pytest.fixture
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_path, "_said", set())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_every_family_is_one_compiled_call(name, dtype):
    exact, sparse = pair(name, "block_column:4", dtype)
    ids, mask = ids_and_mask()
    for given in (None, mask):
        found = states(sparse, ids, given)
        assert encoder_of(sparse).forward.last == "compiled"
        assert found.dtype == dtype
        close(found, states(exact, ids, given), ALLOWED[dtype], given)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_every_structure_compiled_and_layer_by_layer(text, dtype, monkeypatch):
    exact, sparse = pair("Bert", text, dtype)
    ids, _ = ids_and_mask()
    wanted = states(exact, ids)
    monkeypatch.setattr(bp.PackedMatrix, "to_dense", None)
    close(states(sparse, ids), wanted, ALLOWED[dtype])
    with torch.inference_mode():
        layers = sparse(ids, output_hidden_states=True).last_hidden_state
    assert "hidden" in encoder_of(sparse).forward.last
    # Layer by layer torch rounds after every step: attention, sums and LayerNorm too.
    close(layers, wanted, 10 * ALLOWED[dtype])


@pytest.mark.usefixtures("nothing_said")
@pytest.mark.parametrize("text", TEXTS)
def test_float64_is_exact_and_said_once(text):
    exact, sparse = pair("Bert", text, torch.float64)
    ids, _ = ids_and_mask()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            found = states(sparse, ids)
    assert [w.category for w in said] == [DenseProductWarning]
    assert encoder_of(sparse).forward.last != "compiled"
    close(found, states(exact, ids), ALLOWED[torch.float64])


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_gradients_of_a_model_are_as_near_as_those_of_the_dense_one(text, dtype, monkeypatch):
    exact, sparse = pair("Bert", text, dtype)
    dense, (ids, _) = copy.deepcopy(exact).to(dtype), ids_and_mask()
    probe = torch.randn(3, 21, 48)
    for model in (exact, dense, sparse):
        if model is sparse:
            monkeypatch.setattr(bp.PackedMatrix, "to_dense", None)
        model(ids).last_hidden_state.mul(probe).sum().backward()
    monkeypatch.undo()
    off = [0.0, 0.0]
    for name, layer in sparse.named_modules():
        if isinstance(layer, bp.BlockSparseLinear):
            assert layer.values.grad.dtype == layer.bias.grad.dtype == dtype
            found = dataclasses.replace(layer.packed, values=layer.values.grad).to_dense()
            kept = bp.expand(layer.packed.keep(), layer.structure, layer.packed.shape)
            theirs = dense.get_submodule(name).weight.grad * kept
            wanted = exact.get_submodule(name).weight.grad * kept
            for place, one in enumerate((found, theirs)):
                off[place] += float((one.double() - wanted).square().sum() / wanted.square().sum())
    # Each rounds at its own places, so that neither is the nearer one in every matrix.
    assert off[0] < 4 * off[1]


@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_autocast_leaves_the_call_compiled(dtype):
    exact, sparse = pair("Bert", "block_row:16", torch.float32)
    ids, mask = ids_and_mask()
    with torch.autocast("cpu", dtype):
        found = states(sparse, ids, mask)
    assert (found.dtype, encoder_of(sparse).forward.last) == (torch.float32, "compiled")
    close(found, states(exact, ids, mask), ALLOWED[dtype], mask)
    close(states(sparse, ids, mask), states(exact, ids, mask), 1e-5, mask)  # and float32 is what it was


@pytest.mark.skipif(not HAS_PAIRS, reason="no AVX512-BF16 here")
def test_bfloat16_runs_in_pairs_where_there_are_some():
    _, sparse = pair("Bert", "block_column:4", torch.bfloat16)
    states(sparse, ids_and_mask()[0])
    assert {*encoder_of(sparse).forward._plans} == {"bfloat16"}


@pytest.mark.parametrize("name", ["a machine without pairs", "heads of odd width"])
def test_bfloat16_runs_in_float32_elsewhere(name, monkeypatch):
    sides = {}
    if name == "heads of odd width":
        sides = {"width": 15, "heads": 3, "inner": 20}
    else:
        lacking = precisions.PRECISIONS | {}
        lacking["bfloat16"] = type(lacking["bfloat16"])(**{**vars(lacking["bfloat16"]), "missing": "an instruction"})
        monkeypatch.setattr("blockprune_lib.nn.encoder_plan.PRECISIONS", lacking)
    exact, sparse = pair("Bert", "block_column:5", torch.bfloat16, **sides)
    ids, mask = ids_and_mask()
    close(states(sparse, ids, mask), states(exact, ids, mask), ALLOWED[torch.bfloat16], mask)
    assert encoder_of(sparse).forward.last == "compiled"
    assert {*encoder_of(sparse).forward._plans} == {"float32"}


def test_what_is_moved_there_and_back_has_its_rounded_weights():
    exact, sparse = pair("Bert", "block_column:4", torch.float32)
    ids, _ = ids_and_mask()
    close(states(sparse, ids), states(exact, ids), 1e-5)
    sparse.half().float()  # no version of a parameter counts this
    close(states(sparse, ids), states(exact.half().double(), ids), 1e-5)
    with torch.no_grad():
        for parameter in (*sparse.encoder.parameters(), *exact.encoder.parameters()):
            parameter.data = parameter.data * 1.5  # nor this
    close(states(sparse, ids), states(exact, ids), 1e-5)


@pytest.mark.parametrize(("dtype", "precision"), [
    (torch.bfloat16, "float32"), (torch.float16, "float32"), (torch.float64, "float32"),
    pytest.param(torch.bfloat16, "bfloat16", marks=pytest.mark.skipif(not HAS_PAIRS, reason="no AVX512-BF16 here")),
    pytest.param(torch.float64, "bfloat16", marks=pytest.mark.skipif(not HAS_PAIRS, reason="no AVX512-BF16 here")),
])  # fmt: skip
@pytest.mark.parametrize("way", ["save", "save_pretrained", "state_dict", "copy"])
def test_a_type_is_kept_however_a_model_is(dtype, precision, way, tmp_path):
    _, sparse = pair("Bert", "tile:4x3", dtype, precision)
    ids, _ = ids_and_mask()
    if way == "save":
        bp.save(sparse, tmp_path)
    elif way == "save_pretrained":
        sparse.save_pretrained(tmp_path)
    if way.startswith("save"):
        again = bp.load(tmp_path)
    elif way == "copy":
        again = copy.deepcopy(sparse)
    else:
        again = copy.deepcopy(sparse).float()
        again.load_state_dict(sparse.state_dict())  # into its own type
        assert {p.dtype for p in again.parameters()} == {torch.float32}
        again.to(dtype)
    assert {p.dtype for p in again.parameters()} == {dtype}
    for (name, one), other in zip(sparse.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DenseProductWarning)
        assert torch.equal(states(again, ids), states(sparse, ids))


def test_a_model_of_several_types_goes_through_its_layers():
    _, sparse = pair("Bert", "block_column:4", torch.float32)
    sparse.encoder.layer[1].output.dense.bfloat16()
    with torch.inference_mode(), pytest.raises(TypeError, match=r"x must have the type of the weights"):
        sparse.encoder(torch.randn(1, 5, 48))
    assert sparse.encoder.forward.last == (
        "the weights must all be float32, bfloat16 or float16 on the CPU; got bfloat16 on cpu, float32 on cpu"
    )


def test_an_input_of_another_type_is_torchs_to_refuse():
    _, sparse = pair("Bert", "block_column:4", torch.bfloat16)
    with torch.inference_mode(), pytest.raises(TypeError, match="x must have the type of the weights"):
        sparse.encoder(torch.randn(1, 5, 48))
    assert sparse.encoder.forward.last == "the input is torch.float32, the weights are torch.bfloat16"


def test_densify_keeps_the_type_and_warms_up_in_it():
    _, sparse = pair("Bert", "block_row:16", torch.bfloat16)
    assert bp.warm_up(sparse, training=True).seconds > 0
    assert {p.dtype for p in bp.densify(sparse).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_a_model_pruned_in_its_type_is_the_same(dtype):
    model, structure = family("Bert").to(dtype), bp.BlockStructure.block_column(4)
    bp.prune(model, structure, 3.0)
    exact = copy.deepcopy(model).double()
    sparse, ids = bp.sparsify(model, structure, keep_dense_above=1.0), ids_and_mask()[0]
    close(states(sparse, ids), states(exact, ids), ALLOWED[dtype])
    assert encoder_of(sparse).forward.last == "compiled"
