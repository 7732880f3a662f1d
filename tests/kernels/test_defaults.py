"""No kernel's memory follows the default dtype or device: every kernel under each of them, bit for bit as without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blockprune_lib import BlockSparseLinear, BlockStructure, PackedMatrix, break_even_density, pack, sparsify
from blockprune_lib.kernels import CsrMatrix, ladder, linear, linear_reference

from ..helpers.references import structure_texts

DEFAULTS = (torch.float64, torch.float16, torch.bfloat16, "meta")


@contextmanager
def default(what: Any) -> Iterator[None]:
    """As where a script sets its types for science or for a language model, or a device that is not the CPU."""
    torch.set_default_device(what if isinstance(what, str) else None)
    torch.set_default_dtype(torch.float32 if isinstance(what, str) else what)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def weight(structure: BlockStructure, shape: tuple[int, int] = (37, 70)) -> Tensor:
    random = np.random.default_rng(1)
    packed = pack(torch.from_numpy(random.standard_normal(shape, np.float32)), structure)
    packed.values.mul_(torch.from_numpy((random.random((packed.groups, 1, 1)) < 0.4).astype(np.float32)))
    return packed.to_dense()


X, GRAD, BIAS = torch.randn(13, 70), torch.randn(13, 37), torch.randn(37)


def product(structure: BlockStructure) -> list[Tensor]:
    packed, grown = pack(weight(structure), structure), X.clone().requires_grad_()
    values, bias = packed.values.requires_grad_(), BIAS.clone().requires_grad_()
    y = linear(grown, packed, bias)
    y.backward(GRAD)
    return [y.detach(), grown.grad, values.grad, bias.grad]  # type: ignore[list-item]


def without_bias_and_with_gelu(structure: BlockStructure) -> list[Tensor]:
    packed = pack(weight(structure), structure)
    return [linear(x, packed, activation=a) for x in (X, X[:1], X[:0]) for a in (None, "gelu")]


def layer(structure: BlockStructure) -> list[Tensor]:
    dense = nn.Linear(70, 37, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        dense.weight.copy_(weight(structure))
        dense.bias.copy_(BIAS)
    made = BlockSparseLinear.from_linear(dense, structure)
    swapped = sparsify(nn.Sequential(dense), structure, keep_dense_above=1.0)
    back = made.to_linear()
    return [made(X).detach(), swapped(X).detach(), made.weight.detach(), back.weight.detach(), made.packed.keep()]


@pytest.mark.parametrize("what", DEFAULTS, ids=str)
@pytest.mark.parametrize("run", [product, without_bias_and_with_gelu, layer])
@pytest.mark.parametrize("text", [*structure_texts((3, 5), (16, 16)), "block_row:70", "tile:37x70"])
def test_products_gradients_and_layers(text: str, run: Callable[[Any], list[Tensor]], what: Any) -> None:
    structure = BlockStructure.parse(text)
    wanted = run(structure)
    with default(what):
        found = run(structure)
    for one, other in zip(found, wanted, strict=True):
        assert (one.dtype, one.device) == (other.dtype, other.device)
        assert torch.equal(one, other)


@pytest.mark.parametrize("what", DEFAULTS, ids=str)
def test_the_ladder_compressed_rows_and_the_oracle(what: Any) -> None:
    column, row = BlockStructure.block_column(32), BlockStructure.block_row(8)
    panels, rows = pack(weight(column, (64, 40)), column), pack(weight(row, (64, 40)), row)
    csr = CsrMatrix([2.0, 3.0, 4.0], [1, 0, 2], [0, 1, 1, 3], inputs=3)
    x = torch.randn(128, 40)

    def run() -> list[np.ndarray]:
        climbed = [rung(x, panels) for rung in ladder.RUNGS] + [rung(x, rows) for rung in ladder.RUNGS if rung.turned]
        parts = (x, panels.values, panels.columns, panels.offsets)
        checked = linear_reference(*(part.numpy() for part in parts), panels.shape)
        sums = [csr.product(np.eye(3), keep_sums=keep) for keep in (True, False)]
        return [*(y.numpy() for y in climbed), *sums, checked]

    wanted = run()
    with default(what):
        found = run()
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("what", DEFAULTS, ids=str)
def test_a_new_layer_has_the_defaults_and_whole_indices(what: Any) -> None:
    structure = BlockStructure.tile(16, 32)
    keep = torch.tensor([[True, False, True], [False, True, True]], device="cpu")
    with default(what):
        layer, whole = BlockSparseLinear(70, 20, structure, keep=keep), BlockSparseLinear(70, 20, structure)
        explicit = BlockSparseLinear(70, 20, structure, keep=keep, device="cpu", dtype=torch.float32)
        found = explicit(X)
    assert layer.values.dtype == (torch.float32 if what == "meta" else what)
    assert {part.device.type for part in layer.state_dict().values()} == {"meta" if what == "meta" else "cpu"}
    assert (layer.columns.dtype, layer.offsets.dtype, len(layer.columns), len(whole.columns)) == (
        torch.int32, torch.int64, 4, 6,
    )  # fmt: skip
    torch.testing.assert_close(found, nn.functional.linear(X, explicit.weight, explicit.bias))
    assert isinstance(explicit.packed.validate(), PackedMatrix)


@pytest.mark.parametrize("what", DEFAULTS, ids=str)
def test_a_default_that_changes_between_forward_and_backward(what: Any) -> None:
    structure = BlockStructure.block_column(5)
    packed, found = pack(weight(structure), structure), []
    for change in (None, what):
        x, values = X.clone().requires_grad_(), packed.values.clone().requires_grad_()
        y = linear(x, PackedMatrix(structure, packed.shape, values, packed.columns, packed.offsets))
        with default(change) if change else nullcontext():
            y.backward(GRAD)
        found.append((x.grad, values.grad))
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert (one.dtype, one.device.type) == (torch.float32, "cpu")
        assert torch.equal(one, other)


@pytest.mark.parametrize("what", DEFAULTS, ids=str)
def test_the_operators_in_a_graph_and_in_a_transform(what: Any) -> None:
    structure = BlockStructure.block_row(3)
    made = BlockSparseLinear.from_packed(pack(weight(structure), structure), BIAS.clone())
    wanted, slope = made(X).detach(), torch.func.grad(lambda x: made(x).square().sum())(X)
    with default(what):
        exported = torch.export.export(made, (X,)).module()(X)
        assert torch.equal(exported, wanted)
        assert torch.equal(torch.func.grad(lambda x: made(x).square().sum())(X), slope)


@pytest.mark.parametrize("what", DEFAULTS, ids=str)
def test_a_break_even_is_measured_on_float32(what: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def look(functions: dict[str, Any], **_: Any) -> Any:
        seen.extend(part for function in functions.values() for part in function.args if isinstance(part, Tensor))
        raise LookupError

    monkeypatch.setattr("blockprune_lib.nn.break_even.compare", look)
    with default(what), pytest.raises(LookupError):
        break_even_density(BlockStructure.block_row(8), (32, 64))
    assert {(part.dtype, part.device.type) for part in seen} == {(torch.float32, "cpu")}
