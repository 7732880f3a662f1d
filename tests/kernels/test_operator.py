"""The operators against NumPy and dense autograd, and what torch demands of an operator (`torch.library.opcheck`)."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.flop_counter import FlopCounterMode

from blockprune_lib import BlockStructure, PackedMatrix, pack
from blockprune_lib.kernels import linear, operator

from ..helpers.references import structure_texts
from .test_functional import pruned

TEXTS = structure_texts((3, 5), (16, 16))


def parts(text: str, shape: tuple[int, int] = (20, 33), density: float = 0.5) -> tuple[PackedMatrix, tuple[Any, ...]]:
    structure = BlockStructure.parse(text)
    packed = pack(pruned(shape, structure, density), structure)
    return packed, (packed.columns, packed.offsets, [*packed.shape, *packed.group_shape])


def relative(got: Tensor, want: Tensor) -> float:
    assert got.shape == want.shape
    size = float(want.abs().max()) if want.numel() else 1.0
    return float((got.double() - want).abs().max()) / max(size, 1e-6) if got.numel() else 0.0


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("leading", [(4,), (2, 3), ()])
def test_the_three_against_the_dense_matrix(text: str, leading: tuple[int, ...]) -> None:
    packed, rest = parts(text)
    x, grad, bias = torch.randn(*leading, 33), torch.randn(*leading, 20), torch.randn(20)
    weight = packed.to_dense().double()
    mask = PackedMatrix(packed.structure, packed.shape, torch.ones_like(packed.values), packed.columns, packed.offsets)
    assert relative(operator.linear(x, packed.values, bias, *rest), x.double() @ weight.t() + bias) < 1e-5
    assert relative(operator.input_gradient(grad, packed.values, *rest), grad.double() @ weight) < 1e-5
    found = operator.values_gradient(x, grad, *rest)
    placed = PackedMatrix(packed.structure, packed.shape, found, packed.columns, packed.offsets).to_dense()
    wanted = grad.reshape(-1, 20).double().t() @ x.reshape(-1, 33).double() * mask.to_dense()
    assert relative(placed, wanted) < 1e-5


@pytest.mark.parametrize("text", TEXTS)
def test_gradients_to_the_second_order_by_finite_differences(text: str) -> None:
    packed, rest = parts(text, (5, 17) if text != "block_column:16" else (17, 5))
    M, N = packed.shape
    x, grad = (torch.randn(3, side, dtype=torch.float64, requires_grad=True) for side in (N, M))
    bias = torch.randn(M, dtype=torch.float64, requires_grad=True)
    values = packed.values.double().requires_grad_()
    for function, given_ in (
        (lambda x, w, b: operator.linear(x, w, b, *rest), (x, values, bias)),
        (lambda g, w: operator.input_gradient(g, w, *rest), (grad, values)),
        (lambda x, g: operator.values_gradient(x, g, *rest), (x, grad)),
    ):
        assert gradcheck(function, given_, fast_mode=True)
        assert gradgradcheck(function, given_, fast_mode=True)


@pytest.mark.parametrize("text", ["block_column:16", "block_row:16", "irregular"])
def test_what_torch_demands_of_an_operator(text: str) -> None:
    packed, rest = parts(text, (17, 40))
    x, grad = torch.randn(2, 3, 40, requires_grad=True), torch.randn(2, 3, 17, requires_grad=True)
    values, bias = packed.values.requires_grad_(), torch.randn(17, requires_grad=True)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator.linear, (x, values, bias, *rest), test_utils=checks)
    torch.library.opcheck(operator.linear, (x[0, 0].detach(), values, None, *rest), test_utils=checks)
    torch.library.opcheck(operator.input_gradient, (grad, values, *rest), test_utils=checks)
    torch.library.opcheck(operator.values_gradient, (x, grad, *rest), test_utils=checks)


def test_opcheck_through_compilation_too() -> None:
    packed, rest = parts("tile:3x5")
    given_ = torch.randn(4, 33, requires_grad=True), packed.values.requires_grad_(), torch.randn(20), *rest
    torch.library.opcheck(operator.linear, given_)


@given(
    text=st.sampled_from(TEXTS), where=st.tuples(*[st.sampled_from([None, 0, 1, -1])] * 3), seed=st.integers(0, 99),
    batch=st.integers(1, 3), tokens=st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=40)
def test_a_batch_of_any_arguments_is_as_one_by_one(
    text: str, where: tuple[int | None, ...], seed: int, batch: int, tokens: int
) -> None:
    torch.manual_seed(seed)
    packed, rest = parts(text)
    sizes = (tokens, 33), tuple(packed.values.shape), (20,)
    dims = [None if d is None else min(d, len(size)) for d, size in zip(where, sizes, strict=True)]
    if not any(d is not None for d in dims):
        return
    arguments = []
    for d, size in zip(dims, sizes, strict=True):
        arguments.append(torch.randn(size) if d is None else torch.randn(batch, *size).movedim(0, d))
    found = torch.func.vmap(lambda x, w, b: operator.call(operator.linear, x, w, b, *rest), tuple(dims))(*arguments)
    for number in range(batch):
        one = [a if d is None else a.select(d, number) for a, d in zip(arguments, dims, strict=True)]
        torch.testing.assert_close(found[number], operator.linear(*one, *rest), rtol=1e-4, atol=1e-5)


def test_gradients_of_each_example_at_once() -> None:
    _, rest = parts("block_column:16")
    x, grad = torch.randn(4, 3, 33), torch.randn(3, 4, 20)
    found = torch.func.vmap(lambda x, g: operator.call(operator.values_gradient, x, g, *rest), (0, 1))(x, grad)
    for number in range(4):
        one = operator.values_gradient(x[number], grad[:, number].contiguous(), *rest)
        torch.testing.assert_close(found[number], one)


def test_indices_are_checked_before_a_kernel_runs() -> None:
    packed, (columns, offsets, sizes) = parts("block_row:5")
    x = torch.randn(2, 33)
    operator.linear(x, packed.values, None, columns, offsets, sizes)
    columns[0] = 99
    with pytest.raises(ValueError, match="columns must lie in 0 to 6; outside: 1 of"):
        operator.linear(x, packed.values, None, columns, offsets, sizes)
    columns[0] = 0
    offsets[-1] += 1
    with pytest.raises(ValueError, match="offsets must run from 0"):
        operator.values_gradient(x, torch.randn(2, 20), columns, offsets, sizes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(2, 32)}, r"the last side must be 33 for a 20 x 33 matrix; got \(2, 32\)"),
        ({"x": torch.tensor(1.0)}, r"the last side must be 33"),
        ({"values": torch.ones(3, 5, 1)}, r"values must have shape \(groups, c, r\)"),
        ({"sizes": [40, 33, 1, 5]}, "offsets must have 41 entries"),
    ],
)
def test_shapes_that_a_kernel_would_read_beyond(change: dict[str, Any], message: str) -> None:
    packed, (columns, offsets, sizes) = parts("block_row:5")
    named = {"x": torch.randn(2, 33), "values": packed.values, "bias": None, "columns": columns, "offsets": offsets}
    with pytest.raises(ValueError, match=message):
        operator.linear(**(named | {"sizes": sizes} | change))


def test_tokens_of_x_and_of_the_gradient_are_as_many() -> None:
    _, rest = parts("block_row:5")
    with pytest.raises(ValueError, match=r"grad must have as many tokens as x; got \(3, 20\) and \(2, 33\)"):
        operator.values_gradient(torch.ones(2, 33), torch.ones(3, 20), *rest)


def test_a_plan_lives_as_long_as_its_indices() -> None:
    packed, rest = parts("block_row:5")
    first = operator.plan_for(*rest)
    assert operator.plan_for(*rest) is first
    gc.collect()
    before = len(operator._plans)
    del packed, rest, first
    gc.collect()
    assert len(operator._plans) == before - 1


def test_second_derivatives_of_a_product_in_eager_mode() -> None:
    packed, _ = parts("block_column:3")

    def twice(product: Any, x: Tensor, w: Tensor) -> list[Tensor]:
        x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
        first = torch.autograd.grad(product(x, w).pow(3).sum(), (x, w), create_graph=True)
        return list(torch.autograd.grad(sum(part.square().sum() for part in first), (x, w)))

    def ours(x: Tensor, values: Tensor) -> Tensor:
        return linear(x, PackedMatrix(packed.structure, packed.shape, values, packed.columns, packed.offsets))

    def exact(x: Tensor, values: Tensor) -> Tensor:
        full = PackedMatrix(packed.structure, packed.shape, values, packed.columns, packed.offsets)
        return x @ full.to_dense().t()

    x = torch.randn(4, 33)
    found, wanted = twice(ours, x, packed.values), twice(exact, x.double(), packed.values.double())
    for one, other in zip(found, wanted, strict=True):
        assert relative(one, other) < 1e-4


def test_autocast_leaves_the_weights_as_they_are() -> None:
    packed, rest = parts("block_row:5")
    x = torch.randn(3, 33).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = operator.linear(x, packed.values, None, *rest)
        double = operator.linear(x, packed.values.double(), None, *rest)
    assert (y.dtype, double.dtype) == (torch.float32, torch.float64)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    wanted = packed.to_dense().sum(0).expand(3, 33)
    torch.testing.assert_close(x.grad.float(), wanted, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_type_is_near_the_dense_product_in_it(dtype: torch.dtype) -> None:
    packed, rest = parts("tile:3x5")
    x, grad, values = torch.randn(4, 33).to(dtype), torch.randn(4, 20).to(dtype), packed.values.to(dtype)
    weight = packed.to_dense().to(dtype)
    torch.testing.assert_close(operator.linear(x, values, None, *rest), x @ weight.t())
    torch.testing.assert_close(operator.input_gradient(grad, values, *rest), grad @ weight)
    assert operator.values_gradient(x, grad, *rest).dtype == dtype


def test_operations_are_counted_by_what_is_stored() -> None:
    packed, rest = parts("block_row:3")
    x = torch.randn(7, 33, requires_grad=True)
    values = packed.values.requires_grad_()
    with FlopCounterMode(display=False) as counter:
        operator.linear(x, values, None, *rest).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 7 * packed.values.numel()


def test_without_numbers_shapes_are_known() -> None:
    packed, rest = parts("block_row:3")
    meta = [part.to("meta") for part in (torch.randn(2, 7, 33), packed.values, *rest[:2])]
    assert operator.linear(meta[0], meta[1], None, *meta[2:], rest[2]).shape == (2, 7, 20)
    assert np.prod(operator.values_gradient(meta[0], meta[0][..., :20], *meta[2:], rest[2]).shape) == np.prod(
        packed.values.shape
    )
