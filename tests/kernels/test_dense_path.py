"""Every float type: those with a kernel against float64 and without a dense matrix, the others with one warning."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
from torch import Tensor, nn

from blockprune_lib import BlockSparseLinear, BlockStructure, PackedMatrix, pack
from blockprune_lib.kernels import DenseProductWarning, dense_path, linear, operator

from ..helpers.references import structure_texts
from .test_functional import pruned

TEXTS = structure_texts((3, 5), (16, 16))
#: How far a number of each type is from the real one it stands for, relatively.
ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-11}
SHORT = [*ROUNDING]


@pytest.fixture
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_path, "_said", set())


@pytest.fixture
def no_dense_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: PackedMatrix) -> Tensor:
        raise AssertionError("a dense matrix was made")

    monkeypatch.setattr(PackedMatrix, "to_dense", refuse)


def case(text: str, dtype: torch.dtype) -> tuple[Tensor, PackedMatrix, Tensor, Tensor]:
    structure = BlockStructure.parse(text)
    packed = pack(pruned((37, 70), structure, 0.4).to(dtype), structure)
    return torch.randn(2, 13, 70).to(dtype), packed, torch.randn(37).to(dtype), torch.randn(2, 13, 37).to(dtype)


def near(got: Tensor, wanted: Tensor, size: Tensor) -> None:
    """Rounded once, from a sum in float32 of numbers whose sizes add up to `size`."""
    allowed = ROUNDING[got.dtype] * wanted.abs() + 1e-5 * size + 1e-7
    assert bool(((got.double() - wanted).abs() <= allowed).all())


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("text", TEXTS)
def test_products_and_gradients_are_those_of_float64_rounded_once(
    text: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, packed, bias, grad = case(text, dtype)
    weight, X, G = packed.to_dense().double(), x.double(), grad.double()
    stored = packed.keep()
    places = PackedMatrix(
        packed.structure, packed.shape, torch.ones_like(packed.values), packed.columns, packed.offsets
    )
    monkeypatch.setattr(PackedMatrix, "to_dense", None)
    x, values, bias = x.requires_grad_(), packed.values.requires_grad_(), bias.requires_grad_()
    y = linear(x, packed, bias)
    y.backward(grad)
    monkeypatch.undo()
    near(y, X @ weight.t() + bias.double(), X.abs() @ weight.t().abs() + bias.double().abs())
    assert x.grad is not None
    assert values.grad is not None
    assert bias.grad is not None
    near(x.grad, G @ weight, G.abs() @ weight.abs())
    flat, size = (one.reshape(-1, 37).t() @ other.reshape(-1, 70) for one, other in ((G, X), (G.abs(), X.abs())))
    of_stored = pack(flat * places.to_dense(), packed.structure, stored)
    near(values.grad, of_stored.values, pack(size * places.to_dense(), packed.structure, stored).values)
    torch.testing.assert_close(bias.grad.double(), G.sum((0, 1)), rtol=ROUNDING[dtype], atol=20 * ROUNDING[dtype])


@pytest.mark.usefixtures("no_dense_matrix")
@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("text", ["block_row:16", "tile:3x5", "irregular"])
def test_operators_transforms_and_graphs_make_no_dense_matrix_either(text: str, dtype: torch.dtype) -> None:
    x, packed, bias, grad = case(text, dtype)
    rest = packed.columns, packed.offsets, [*packed.shape, *packed.group_shape]
    wanted = linear(x, packed, bias)
    assert torch.equal(operator.linear(x, packed.values, bias, *rest), wanted)
    assert operator.input_gradient(grad, packed.values, *rest).dtype == dtype
    assert operator.values_gradient(x, grad, *rest).shape == packed.values.shape
    layer = BlockSparseLinear.from_packed(packed, bias)
    assert torch.equal(layer(x), wanted)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), wanted)
    slope = torch.func.grad(lambda x: layer(x).float().sum())(x)
    assert slope.dtype == dtype
    exported = torch.export.export(layer, (x,)).module()
    assert torch.equal(exported(x), wanted)
    assert torch.equal(layer(x[:, :0]), wanted[:, :0])


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("text", ["block_row:16", "block_column:16"])
def test_the_gelu_in_the_same_pass_is_rounded_once(text: str, dtype: torch.dtype) -> None:
    x, packed, bias, _ = case(text, dtype)
    straight = x.double() @ packed.to_dense().double().t() + bias.double()
    size = x.double().abs() @ packed.to_dense().double().t().abs() + bias.double().abs()
    near(linear(x, packed, bias, activation="gelu"), nn.functional.gelu(straight), size)


def test_a_half_that_is_too_large_is_infinite_as_in_torch() -> None:
    packed = pack(torch.full((4, 8), 300.0).half(), BlockStructure.block_row(4))
    assert bool(linear(torch.full((2, 8), 300.0).half(), packed).isposinf().all())


@pytest.mark.usefixtures("nothing_said")
@pytest.mark.parametrize("text", TEXTS)
def test_float64_is_exact_and_warned_of_once(text: str) -> None:
    x, packed, bias, grad = case(text, torch.float64)
    values = packed.values.requires_grad_()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            y = linear(x.requires_grad_(), packed, bias)
            y.backward(grad)
            linear(x.detach(), packed, activation="gelu")
    (one,) = said
    assert one.category is DenseProductWarning
    assert "float64 on cpu have no kernel" in str(one.message)
    assert "model.float(), .bfloat16() or .half()" in str(one.message)
    assert "blockprune_lib.densify(model) keeps float64" in str(one.message)
    weight = packed.to_dense().detach()
    torch.testing.assert_close(y.detach(), x.detach() @ weight.t() + bias, rtol=1e-13, atol=1e-13)
    assert values.grad is not None


@pytest.mark.usefixtures("nothing_said")
def test_one_warning_for_all_layers_threads_and_ways_of_looking() -> None:
    x, packed, bias, _ = case("block_row:5", torch.float64)
    layers = [BlockSparseLinear.from_packed(packed, bias) for _ in range(4)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        workers = [threading.Thread(target=layer, args=(x,)) for layer in layers]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        torch.compile(layers[0], fullgraph=True, backend="aot_eager")(x)
        torch.func.grad(lambda x: layers[1](x).sum())(x)
        operator.linear(x, packed.values, bias, packed.columns, packed.offsets, [37, 70, 1, 5])
    assert [w.category for w in said if "kernel" in str(w.message)] == [DenseProductWarning]


@pytest.mark.usefixtures("nothing_said")
def test_a_graph_that_is_made_first_says_it_too() -> None:
    torch.compiler.reset()  # what another test compiled has said it
    x, packed, bias, _ = case("block_row:5", torch.float64)
    compiled = torch.compile(BlockSparseLinear.from_packed(packed, bias), fullgraph=True, backend="aot_eager")
    with pytest.warns(DenseProductWarning, match="float64 on cpu"):
        found = compiled(x)
    torch.testing.assert_close(found, x @ packed.to_dense().t() + bias)


@pytest.mark.usefixtures("nothing_said")
def test_shapes_without_numbers_cost_nothing_and_say_nothing() -> None:
    layer = BlockSparseLinear(70, 37, BlockStructure.block_row(5), device="meta", dtype=torch.float64)
    assert layer(torch.empty(3, 70, device="meta", dtype=torch.float64)).shape == (3, 37)


def test_types_that_are_mixed_are_refused_as_ever() -> None:
    x, packed, _, _ = case("block_row:5", torch.bfloat16)
    with pytest.raises(TypeError, match=r"x must have the type of the weights, torch.bfloat16; got torch.float16"):
        linear(x.half(), packed)
    with torch.autocast("cpu", torch.float16):
        assert linear(x.half(), packed).dtype == torch.float16
