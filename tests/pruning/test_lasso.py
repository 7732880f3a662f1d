"""The penalty and the proximal step against closed forms, finite differences and a minimiser from SciPy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from blockprune_lib.pruning import groups
from blockprune_lib.pruning.groups import group_norms, group_soft_threshold
from blockprune_lib.pruning.lasso import ReweightedGroupLasso, concave_penalty, reweighted_alpha
from blockprune_lib.pruning.structure import BlockStructure

from ..helpers.references import (
    LAYOUTS,
    alpha,
    boxes,
    expanded,
    laid_out,
    matrix,
    named_cases,
    norms,
    penalty,
    sizes,
    structured_shapes,
)

ROW2 = BlockStructure.block_row(2)


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))


# --- value and gradient ---


@given(structured_shapes(), st.sampled_from(LAYOUTS), st.booleans(), st.integers(0, 99))
def test_value_and_gradient_agree_with_the_closed_form(
    case: tuple[BlockStructure, tuple[int, int]], layout: str, scale_by_size: bool, seed: int
) -> None:
    structure, shape = case
    start, now = matrix(shape, seed), matrix(shape, seed + 1)
    weight = laid_out(start, layout, torch.float64)
    pen = ReweightedGroupLasso(weight, structure, lam=0.3, eps=0.01, scale_by_size=scale_by_size)
    with torch.no_grad():
        weight.copy_(torch.from_numpy(now))
    pen.weights["weight"].requires_grad_()
    pull, length = alpha(norms(start, structure), 0.01), norms(now, structure)
    strength = 0.3 * pull * (np.sqrt(sizes(structure, shape)) if scale_by_size else 1.0)
    np.testing.assert_allclose(pen.alpha["weight"].numpy(), pull, rtol=1e-12)
    np.testing.assert_allclose(pen().item(), (strength * length).sum(), rtol=1e-12)
    pen().backward()
    want = now * expanded(strength / np.where(length > 0, length, 1.0), structure, shape)
    np.testing.assert_allclose(weight.grad.numpy(), want, rtol=1e-10, atol=1e-14)


@given(structured_shapes(5))
def test_gradient_agrees_with_finite_differences(case: tuple[BlockStructure, tuple[int, int]]) -> None:
    structure, shape = case
    weight = torch.from_numpy(matrix(shape)).requires_grad_()
    pen = ReweightedGroupLasso(weight, structure, lam=0.5, eps=0.1, scale_by_size=True)

    def value(w: torch.Tensor) -> torch.Tensor:
        pen.weights["weight"] = w
        return pen()

    assert torch.autograd.gradcheck(value, weight)


@pytest.mark.parametrize(("structure", "shape"), named_cases())
def test_named_cases(structure: BlockStructure, shape: tuple[int, int]) -> None:
    values = matrix(shape)
    weight = torch.from_numpy(values).float().requires_grad_()
    pen = ReweightedGroupLasso(weight, structure, lam=1e-2)
    length = norms(values, structure)
    np.testing.assert_allclose(pen().item(), 1e-2 * (alpha(length, 1e-3) * length).sum(), rtol=1e-4)
    pen().backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_a_group_of_zeros_gets_no_gradient_and_no_nan() -> None:
    weight = torch.tensor([[0.0, 0.0, 1.0, 0.0]], requires_grad=True)
    pen = ReweightedGroupLasso(weight, ROW2, lam=1.0, eps=1e-3)
    assert pen.alpha["weight"].tolist() == [[pytest.approx(alpha(0.0, 1e-3)), pytest.approx(alpha(1.0, 1e-3))]]
    pen().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.tensor([[0.0, 0.0, alpha(1.0, 1e-3), 0.0]]))


def test_alpha_is_a_constant_until_reweight() -> None:
    weight = torch.ones(2, 4, requires_grad=True)
    pen = ReweightedGroupLasso(weight, ROW2, lam=1.0, eps=0.5)
    first = pen.alpha["weight"].clone()
    assert not pen.alpha["weight"].requires_grad
    with torch.no_grad():
        weight.mul_(2)
    assert torch.equal(pen.alpha["weight"], first)
    pen.reweight()
    torch.testing.assert_close(pen.alpha["weight"], alpha(group_norms(weight.detach(), ROW2), 0.5))


def test_alpha_is_the_slope_of_what_the_rounds_lower() -> None:
    lengths = torch.tensor([0.0, 0.01, 0.3, 2.0, 50.0], dtype=torch.float64)
    found = torch.empty_like(lengths)
    reweighted_alpha(lengths.clone(), 1e-2, out=found)
    near = lengths.clone().requires_grad_()
    (slope,) = torch.autograd.grad(concave_penalty(near, 1e-2).sum(), near)
    torch.testing.assert_close(found, slope)
    torch.testing.assert_close(found, alpha(lengths, 1e-2))
    torch.testing.assert_close(near.detach(), lengths)
    torch.testing.assert_close(concave_penalty(lengths, 1e-2), penalty(lengths, 1e-2))


def test_plain_group_lasso_keeps_alpha_at_one() -> None:
    weight = torch.tensor([[3.0, 4.0, 0.0, 2.0]])
    pen = ReweightedGroupLasso(weight, ROW2, lam=0.5, reweighted=False)
    pen.reweight()
    assert pen.alpha["weight"].tolist() == [[1.0, 1.0]]
    assert pen().item() == pytest.approx(0.5 * (5 + 2))
    assert repr(pen).startswith("group Lasso over block_row:2")


def test_reweighting_majorises_the_sum_of_logs() -> None:
    """Descending on the penalty and refreshing never raises sum log(||W_g|| + eps): majorise, then minimise."""
    weight = torch.from_numpy(matrix((4, 8)))
    pen = ReweightedGroupLasso(weight, ROW2, lam=1.0, eps=0.1)
    values = []
    for _ in range(5):
        values.append(float(penalty(group_norms(weight, ROW2), 0.1).sum()))
        pen.proximal_(0.05)
        pen.reweight()
    assert values == sorted(values, reverse=True)


def test_parts_add_up_over_a_model_and_reach_every_weight() -> None:
    model = two_layers()
    pen = ReweightedGroupLasso(model, ROW2, lam=1e-2)
    assert list(pen.parts()) == ["0.weight", "1.weight"]
    assert sum(part.item() for part in pen.parts().values()) == pytest.approx(pen().item())
    pen().backward()
    assert all(layer.weight.grad.norm() > 0 for layer in model)
    assert all(layer.bias.grad is None for layer in model)


def test_lambda_for_each_matrix() -> None:
    model = two_layers()
    pen = ReweightedGroupLasso(model, ROW2, lam={"0.weight": 0.0, "1.weight": 2.0})
    one = ReweightedGroupLasso(model[1].weight, ROW2, lam=2.0)
    assert pen.parts()["0.weight"].item() == 0.0
    assert pen().item() == pytest.approx(one().item())
    assert one.lam == {"weight": 2.0}


def test_every_way_to_name_the_matrices() -> None:
    a, b = torch.ones(2, 2), torch.ones(3, 4)
    ways = {
        ("weight",): a,
        ("0", "1"): [a, b],
        ("a", "b"): {"a": a, "b": b},
        ("1.weight",): {"1.weight": b},
    }  # fmt: skip
    for names, source in ways.items():
        assert tuple(ReweightedGroupLasso(source, ROW2).weights) == names
    assert tuple(ReweightedGroupLasso((w for w in (a, b)), ROW2).weights) == ("0", "1")


def test_flags_choose_matrices_of_a_model() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(5, 4), "up": nn.Linear(4, 4)})
    assert list(ReweightedGroupLasso(model, ROW2, embeddings=True).weights) == ["table.weight", "up.weight"]


def test_mixed_types_and_half_precision() -> None:
    weights = {"half": torch.ones(2, 2).half().requires_grad_(), "double": torch.ones(2, 2).double().requires_grad_()}
    pen = ReweightedGroupLasso(weights, ROW2, lam=1.0)
    pen().backward()
    assert [w.grad.dtype for w in weights.values()] == [torch.float16, torch.float64]
    pen.proximal_(0.1)
    pen.proximal_(100.0)
    assert all((w == 0).all() for w in weights.values())


# --- the gradient in place ---


@pytest.fixture(params=[1, 1 << 17], ids=["smallest chunks", "usual chunks"])
def _chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "CHUNK", request.param)


def through_autograd(pen: ReweightedGroupLasso) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The value, and what a backward pass would add to the gradients of the weights that are not frozen."""
    value = pen()
    return value.detach(), list(torch.autograd.grad(value, [w for w in pen.weights.values() if w.requires_grad]))


@given(
    structured_shapes(),
    st.sampled_from(LAYOUTS),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 7, 40, 1 << 17]),
    st.sampled_from([1e-150, 1e-30, 1.0, 1e30, 1e150]),
    st.integers(0, 99),
)
def test_the_gradient_in_place_agrees_with_the_closed_form(
    case: tuple[BlockStructure, tuple[int, int]],
    layout: str,
    scale_by_size: bool,
    before: bool,
    chunk: int,
    scale: float,
    seed: int,
) -> None:
    structure, shape = case
    start, now, there = matrix(shape, seed), matrix(shape, seed + 1), matrix(shape, seed + 2)
    dead = np.random.default_rng(seed).random(norms(start, structure).shape) < 0.2
    now = now * ~expanded(dead, structure, shape)
    weight = laid_out(start, layout, torch.float64)
    pen = ReweightedGroupLasso(weight, structure, lam=0.3, eps=0.01, scale_by_size=scale_by_size)
    weight.copy_(torch.from_numpy(now * scale))
    weight.requires_grad_()
    if before:
        weight.grad = torch.tensor(there)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "CHUNK", chunk)
        value = pen.add_gradient_(0.5)
    length = norms(now, structure)
    strength = 0.5 * 0.3 * alpha(norms(start, structure), 0.01)
    strength = strength * (np.sqrt(sizes(structure, shape)) if scale_by_size else 1.0)
    pull = now * expanded(strength / np.where(length > 0, length, 1.0), structure, shape)
    assert not value.requires_grad
    np.testing.assert_allclose(value.item(), scale * (strength * length).sum(), rtol=1e-12)
    np.testing.assert_allclose(weight.grad.numpy(), pull + (there if before else 0.0), rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(weight.detach().numpy(), now * scale)


@pytest.mark.usefixtures("_chunk")
@given(
    structured_shapes(),
    st.sampled_from(LAYOUTS),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.sampled_from([1e-38, 1e-31, 1e-20, 1.0, 1e18, 1e36]),
    st.integers(0, 99),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_gradient_in_place_agrees_with_autograd(
    case: tuple[BlockStructure, tuple[int, int]], layout: str, dtype: torch.dtype, scale: float, seed: int
) -> None:
    structure, shape = case
    scale = min(max(scale, 1e-7), 1e3) if dtype == torch.float16 else scale
    weight = laid_out(matrix(shape, seed) * scale, layout, dtype)
    pen = ReweightedGroupLasso(weight, structure, lam=0.2, reweighted=seed % 2 == 0, scale_by_size=True)
    weight.requires_grad_()
    want, (gradient,) = through_autograd(pen)
    rough = 4 * torch.finfo(dtype).eps if dtype != torch.float64 else 1e-12
    for _ in range(2):  # once where there is no gradient, once onto the first
        torch.testing.assert_close(pen.add_gradient_(), want, rtol=1e-5, atol=0.0)
        torch.testing.assert_close(weight.grad, gradient, rtol=max(rough, 2e-6), atol=torch.finfo(dtype).tiny)
        assert weight.grad.dtype == dtype
        gradient = 2 * gradient


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize(("structure", "shape"), named_cases())
def test_named_cases_in_place(structure: BlockStructure, shape: tuple[int, int]) -> None:
    weight = torch.from_numpy(matrix(shape)).float().requires_grad_()
    pen = ReweightedGroupLasso(weight, structure, lam=1e-2)
    want, (gradient,) = through_autograd(pen)
    torch.testing.assert_close(pen.add_gradient_(), want, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(weight.grad, gradient)


def test_groups_of_zeros_and_groups_next_to_zero_are_as_in_autograd() -> None:
    weight = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1e-35, 0.0, 1e-25, 1e-25, -0.0, 0.0]], requires_grad=True)
    for structure in (ROW2, BlockStructure.irregular()):
        weight.grad = None
        pen = ReweightedGroupLasso(weight, structure, lam=1.0, eps=1e-3)
        want, (gradient,) = through_autograd(pen)
        torch.testing.assert_close(pen.add_gradient_(), want)
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-5, atol=0.0)
        assert weight.grad[0, [0, 1, 4, 5, 8, 9]].tolist() == [0.0] * 6
        assert weight.grad[0, 6] > 500


def test_frozen_weights_count_and_get_no_gradient() -> None:
    model = two_layers()
    model[0].weight.requires_grad_(False)
    pen = ReweightedGroupLasso(model, ROW2, lam=1e-2)
    want, (gradient,) = through_autograd(pen)
    assert pen.add_gradient_().item() == pytest.approx(want.item())
    assert model[0].weight.grad is None
    torch.testing.assert_close(model[1].weight.grad, gradient)
    model[1].weight.requires_grad_(False)
    assert pen.add_gradient_().item() == pytest.approx(want.item())
    torch.testing.assert_close(model[1].weight.grad, gradient)


def test_a_gradient_that_is_there_stays_the_same_tensor() -> None:
    model = two_layers()
    pen = ReweightedGroupLasso(model, ROW2, lam={"0.weight": 0.5, "1.weight": 0.0})
    model(torch.ones(3, 6)).sum().backward()
    there = [layer.weight.grad for layer in model]
    before = [gradient.clone() for gradient in there]
    _, (first, second) = through_autograd(pen)
    pen.add_gradient_()
    assert all(layer.weight.grad is gradient for layer, gradient in zip(model, there, strict=True))
    torch.testing.assert_close(there[0], before[0] + first)
    assert second.eq(0).all()
    assert torch.equal(there[1], before[1])
    assert not torch.equal(there[0], before[0])


def test_a_shared_weight_is_penalised_under_each_name() -> None:
    weight = torch.ones(2, 4, requires_grad=True)
    pen = ReweightedGroupLasso({"a": weight, "b": weight}, ROW2, lam=1.0)
    want, (gradient, _) = through_autograd(pen)
    assert pen.add_gradient_().item() == pytest.approx(want.item())
    torch.testing.assert_close(weight.grad, gradient)


def test_the_sparse_gradient_of_a_table_becomes_dense() -> None:
    table = nn.ModuleDict({"table": nn.Embedding(5, 4, sparse=True)})
    pen = ReweightedGroupLasso(table, ROW2, lam=0.1, embeddings=True)
    table["table"](torch.tensor([1, 3])).sum().backward()
    rows = table["table"].weight.grad.to_dense()
    alone = torch.autograd.grad(pen(), table["table"].weight)[0]
    pen.add_gradient_()
    torch.testing.assert_close(table["table"].weight.grad, rows + alone)


def test_a_model_may_change_its_type_after_the_penalty_was_made() -> None:
    model = two_layers()
    pen = ReweightedGroupLasso(model, ROW2, lam=1e-2)
    model.double()
    want, gradients = through_autograd(pen)
    torch.testing.assert_close(pen.add_gradient_(), want)
    for layer, gradient in zip(model, gradients, strict=True):
        torch.testing.assert_close(layer.weight.grad, gradient, rtol=1e-6, atol=0.0)
    pen.reweight()
    assert {value.dtype for value in pen.alpha.values()} == {torch.float64}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_may_move_after_the_penalty_was_made() -> None:
    model = two_layers()
    pen = ReweightedGroupLasso(model, ROW2, lam=1e-2)
    want, gradients = through_autograd(pen)
    model.to("cuda")
    assert pen.add_gradient_().item() == pytest.approx(want.item(), rel=1e-5)
    for layer, gradient in zip(model, gradients, strict=True):
        torch.testing.assert_close(layer.weight.grad.cpu(), gradient)
    pen.reweight()
    pen.proximal_(0.1)
    assert {value.device.type for value in pen.alpha.values()} == {"cuda"}


class Results(TorchDispatchMode):
    """Records the largest result that does not lie in memory which was there before it."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given_in = [*args, *(kwargs or {}).values()]
        old = {t.untyped_storage().data_ptr() for t in given_in if isinstance(t, torch.Tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in old:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
        return result


LARGE = [
    *("irregular", "block_row:64", "block_row:8", "block_column:16", "block_column:64"),
    *("tile:32x32", "tile:32x31", "row", "column"),
]


@pytest.mark.parametrize("text", LARGE)
@pytest.mark.parametrize("values", ["usual", "some zero", "tiny", "transposed"])
def test_no_temporary_is_larger_than_a_chunk(text: str, values: str) -> None:
    linear = nn.Linear(1000, 1600, bias=False)
    with torch.no_grad():
        if values == "tiny":
            linear.weight.mul_(1e-30)
        if values == "some zero":
            linear.weight[:, :500] = 0
    if values == "transposed":
        linear.weight = nn.Parameter(linear.weight.detach().T.contiguous().T)
    linear.weight.grad = torch.zeros_like(linear.weight)
    pen = ReweightedGroupLasso(linear, BlockStructure.parse(text))
    limit = 4 * groups.CHUNK
    assert linear.weight.nbytes > 10 * limit
    for act in (pen.add_gradient_, pen.reweight, lambda: pen.proximal_(1e-3)):
        with Results() as results:
            act()
        assert 0 < results.largest <= limit


def test_the_recorder_of_results_sees_a_copy() -> None:
    weight = torch.ones(100, 100)
    with Results() as results:
        (weight * 2).add_(1)
    assert results.largest == weight.nbytes


# --- the proximal step ---


@given(structured_shapes(), st.sampled_from(LAYOUTS), st.floats(0, 5), st.integers(0, 99))
def test_soft_threshold_matches_the_loops(
    case: tuple[BlockStructure, tuple[int, int]], layout: str, threshold: float, seed: int
) -> None:
    structure, shape = case
    values = matrix(shape, seed)
    want = values.copy()
    for _, _, rows, columns in boxes(structure, shape):
        norm = np.linalg.norm(values[rows, columns])
        want[rows, columns] *= max(0.0, 1 - threshold / norm) if norm > 0 else 0.0
    weight = laid_out(values, layout, torch.float64)
    found = group_soft_threshold(weight, structure, threshold)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(weight.numpy(), values)  # a new tensor
    assert not torch.signbit(found[found == 0]).any() or threshold == 0


def test_soft_threshold_is_the_minimiser() -> None:
    """argmin over V of ||V - W||² / 2 + t ||V||, found by SciPy without our formula."""
    optimize = pytest.importorskip("scipy.optimize")
    w, t = np.array([1.5, -2.0, 0.5]), 0.7
    result = optimize.minimize(lambda v: 0.5 * ((v - w) ** 2).sum() + t * np.sqrt((v**2).sum()), w, tol=1e-12)
    found = group_soft_threshold(torch.from_numpy(w)[None], BlockStructure.row(), t)
    np.testing.assert_allclose(found.numpy()[0], result.x, atol=1e-6)


def test_dropped_groups_are_plus_zero_and_the_limit_is_inside() -> None:
    weight = torch.tensor([[-3.0, -4.0, -0.3, -0.4, -6.0, -8.0]])
    found = group_soft_threshold(weight, ROW2, 5.0)
    assert found.tolist() == [[0.0, 0.0, 0.0, 0.0, -3.0, -4.0]]
    assert not torch.signbit(found[0, :4]).any()


def test_a_threshold_for_each_group() -> None:
    weight = torch.tensor([[3.0, 4.0, 3.0, 4.0, 0.0, 0.0]])
    found = group_soft_threshold(weight, ROW2, torch.tensor([[0.0, 2.5, 0.0]]))
    assert found.tolist() == [[3.0, 4.0, 1.5, 2.0, 0.0, 0.0]]
    assert torch.equal(group_soft_threshold(weight, ROW2, torch.tensor(0.0)), weight)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_soft_threshold_of_huge_and_tiny_weights(scale: float) -> None:
    weight = torch.tensor([[3.0, 4.0, 0.3, 0.4]]) * scale
    found = group_soft_threshold(weight, ROW2, 2.5 * scale)
    torch.testing.assert_close(found / scale, torch.tensor([[1.5, 2.0, 0.0, 0.0]]))


@pytest.mark.parametrize("scale_by_size", [False, True])
def test_proximal_step_is_the_soft_threshold_of_its_strength(scale_by_size: bool) -> None:
    model, structure = two_layers(), BlockStructure.tile(3, 4)
    model[1] = nn.Linear(4, 3)
    pen = ReweightedGroupLasso(model, structure, lam=0.7, eps=0.1, scale_by_size=scale_by_size)
    before = [layer.weight.detach().clone() for layer in model]
    pen.proximal_(0.2)
    for name, layer, weight in zip(pen.alpha, model, before, strict=True):
        size = structure.sizes(weight.shape).sqrt() if scale_by_size else 1.0
        want = group_soft_threshold(weight, structure, 0.2 * 0.7 * pen.alpha[name] * size)
        torch.testing.assert_close(layer.weight.detach(), want)


def test_proximal_step_gives_exact_zeros_in_place_and_they_stay() -> None:
    linear = nn.Linear(64, 64)
    with torch.no_grad():
        linear.weight.mul_(torch.linspace(0.2, 4.0, 64))
    address = linear.weight.data_ptr()
    structure = BlockStructure.block_column(16)
    pen = ReweightedGroupLasso(linear, structure, lam=0.05)
    for _ in range(3):
        pen.proximal_(1.0)
        pen.reweight()
    zero = group_norms(linear.weight.detach(), structure) == 0
    assert 0 < zero.sum() < zero.numel()
    assert linear.weight.data_ptr() == address
    assert linear.weight.requires_grad
    pen.proximal_(0.0)
    assert (group_norms(linear.weight.detach(), structure) == 0).equal(zero)


def test_no_lambda_changes_nothing() -> None:
    weight = torch.randn(5, 7)
    before = weight.clone()
    ReweightedGroupLasso(weight, BlockStructure.tile(2, 2), lam=0.0).proximal_(1.0)
    assert torch.equal(weight, before)


# --- state ---


def test_state_survives_a_checkpoint() -> None:
    model = two_layers()
    pen = ReweightedGroupLasso(model, ROW2, lam={"0.weight": 0.1, "1.weight": 0.2}, eps=0.02, scale_by_size=True)
    with torch.no_grad():
        for layer in model:
            layer.weight.mul_(3)
    file = io.BytesIO()
    torch.save(pen.state_dict(), file)
    file.seek(0)
    other = ReweightedGroupLasso(model, ROW2)
    assert other().item() != pytest.approx(pen().item())
    other.load_state_dict(torch.load(file, weights_only=True))
    assert (other.lam, other.eps, other.scale_by_size) == (pen.lam, 0.02, True)
    assert all(torch.equal(other.alpha[name], pen.alpha[name]) for name in pen.alpha)
    assert other().item() == pen().item()


def test_state_is_a_copy() -> None:
    weight = torch.ones(2, 2)
    pen = ReweightedGroupLasso(weight, ROW2)
    state = pen.state_dict()
    other = ReweightedGroupLasso(weight, ROW2)
    other.load_state_dict(state)
    state["alpha"]["weight"].zero_()
    state["lam"]["weight"] = 99.0
    assert (pen.alpha["weight"] > 0).all()
    assert torch.equal(other.alpha["weight"], pen.alpha["weight"])
    assert pen.lam == other.lam == {"weight": 1e-4}


STATES = {
    "nothing": ({}, "state lacks structure, alpha, lam"),
    "another structure": ({"structure": "row"}, "state is of structure row, this penalty's is block_row:2"),
    "another matrix": (
        {"alpha": {"w": torch.ones(2, 1)}},
        r"state\['alpha'\] must name .* lacks 'weight' and has beside 'w'",
    ),
    "another shape": ({"alpha": {"weight": torch.ones(2, 2)}}, r"positive finite values, shape \(2, 1\)"),
    "no tensor": ({"alpha": {"weight": 1.0}}, "positive finite"),
    "a zero": ({"alpha": {"weight": torch.zeros(2, 1)}}, "positive finite"),
    "a NaN": ({"alpha": {"weight": torch.full((2, 1), torch.nan)}}, "positive finite"),
    "a bad lambda": ({"lam": {"weight": -1.0}}, "finite number at least 0; got -1.0"),
    "a bad eps": ({"eps": 0.0}, "finite number above 0; got 0.0"),
}


@pytest.mark.parametrize("name", STATES)
def test_bad_states_are_refused_and_change_nothing(name: str) -> None:
    change, says = STATES[name]
    pen = ReweightedGroupLasso(torch.ones(2, 2), ROW2)
    before = repr(pen)
    with pytest.raises(ValueError, match=says):
        pen.load_state_dict(pen.state_dict() | change if change else {})
    assert repr(pen) == before


# --- what it prints ---


def test_it_prints_a_table() -> None:
    model = two_layers()
    with torch.no_grad():
        model[0].weight[0, :2] = 0
    text = repr(ReweightedGroupLasso(model, ROW2, lam=0.01, scale_by_size=True))
    lines = text.splitlines()
    assert lines[0] == "reweighted group Lasso over block_row:2, eps 0.001, sqrt(size)"
    assert lines[1].split() == ["matrix", "groups", "zero", "norm", "alpha", "lambda", "penalty"]
    assert lines[2].split()[:3] == ["0.weight", "12", "1"]
    assert lines[-1].startswith("sum")
    assert len({len(line) for line in lines[1:]}) == 1
    assert ReweightedGroupLasso(model, ROW2)._repr_html_().count("<tr>") == 4


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"lam": -1e-4}, ValueError, "lam must be a finite number at least 0; got -0.0001"),
        ({"lam": float("nan")}, ValueError, "got nan"),
        ({"lam": float("inf")}, ValueError, "got inf"),
        ({"lam": "1e-4"}, TypeError, "lam must be a number; got '1e-4'"),
        ({"lam": True}, TypeError, "got True"),
        (
            {"lam": {"other": 1.0}},
            ValueError,
            "lam must name exactly the 1 matrices chosen; it lacks 'weight' and has beside",
        ),
        ({"lam": {"weight": -1.0}}, ValueError, r"lam\['weight'\] must be"),
        ({"eps": 0.0}, ValueError, "eps must be a finite number above 0; got 0.0: 1e-3 is the paper's"),
        ({"eps": -1}, ValueError, "above 0"),
        ({"structure": "row"}, TypeError, "structure must be a BlockStructure"),
        ({"structure": BlockStructure.block_row(3)}, ValueError, "weight: structure block_row:3: block larger"),
        ({"classifier": True}, TypeError, "classifier would choose matrices of a model; got Tensor"),
    ],
)
def test_bad_settings_are_refused(arguments: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ReweightedGroupLasso(**({"model_or_params": torch.ones(2, 2), "structure": ROW2} | arguments))


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ([], ValueError, "empty"),
        ({}, ValueError, "empty"),
        (3, TypeError, "got int"),
        ("minilm", TypeError, "got str"),
        (nn.LayerNorm(4), ValueError, "nothing to prune"),
        ([torch.ones(2, 2), torch.ones(2)], ValueError, "1 must be a matrix"),
        ({"w": np.ones((2, 2))}, TypeError, "w must be a torch.Tensor; got ndarray"),
        ({"w": torch.ones(2, 2).long()}, TypeError, r"w must hold floats .* got torch.int64"),
        (torch.tensor([[1.0, torch.nan]]), ValueError, "1 NaN"),
        (nn.Linear(1, 5), ValueError, "weight: structure block_row:2: block larger than the matrix"),
    ],
)
def test_bad_matrices_are_refused(source: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ReweightedGroupLasso(source, ROW2)  # type: ignore[arg-type]


def test_divergence_is_named_when_it_happens() -> None:
    weight = torch.ones(2, 2)
    pen = ReweightedGroupLasso({"encoder.weight": weight}, ROW2)
    weight[0, 0] = torch.nan
    for act in (pen, pen.reweight, pen.add_gradient_, lambda: pen.proximal_(0.1)):
        with pytest.raises(ValueError, match=r"encoder.weight must be finite; got 1 NaN and 0 infinite of 4"):
            act()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("text", ["block_row:2", "irregular", "column"])
def test_a_weight_that_will_not_do_leaves_everything_as_it_was(bad: float, text: str) -> None:
    model = two_layers()
    pen = ReweightedGroupLasso(model, BlockStructure.parse(text), lam=0.5)
    model[0].weight.grad = torch.ones(4, 6)
    model[1].weight.data[1, 3] = bad
    before, first = model[0].weight.detach().clone(), pen.alpha["0.weight"].clone()
    for act in (pen.add_gradient_, pen.reweight, lambda: pen.proximal_(0.1)):
        with pytest.raises(ValueError, match=r"1\.weight must be finite; got "):
            act()
    assert torch.equal(model[0].weight.grad, torch.ones(4, 6))
    assert model[1].weight.grad is None
    assert torch.equal(model[0].weight, before)
    assert torch.equal(pen.alpha["0.weight"], first)


def test_a_norm_beyond_the_largest_float_is_refused() -> None:
    weight = torch.ones(2, 4, requires_grad=True)
    pen = ReweightedGroupLasso(weight, ROW2)
    weight.data[1, :2] = 3e38
    for act in (pen, pen.reweight, pen.add_gradient_, lambda: pen.proximal_(0.1)):
        with pytest.raises(ValueError, match="weight has a group whose norm is beyond the largest float32"):
            act()
    assert weight.grad is None
    weight.data[1, :2] = 2e38  # the norm is 2.8e38
    pen.add_gradient_()
    torch.testing.assert_close(
        weight.grad[1, :2], torch.full((2,), 1e-4 * alpha(2**0.5, 1e-3) / 2**0.5), rtol=1e-2, atol=0.0
    )


def test_a_computed_weight_has_no_gradient_to_add_to() -> None:
    pen = ReweightedGroupLasso(torch.ones(2, 2, requires_grad=True) * 2, ROW2)
    with pytest.raises(
        ValueError, match=r"weight is computed from other tensors; pen\(\).backward\(\) would reach them"
    ):
        pen.add_gradient_()


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), None, True, "1"])
def test_bad_scales_are_refused(scale: object) -> None:
    weight = torch.ones(2, 2, requires_grad=True)
    with pytest.raises((TypeError, ValueError), match="scale must be a"):
        ReweightedGroupLasso(weight, ROW2).add_gradient_(scale)  # type: ignore[arg-type]
    assert weight.grad is None


@pytest.mark.parametrize("step", [-1.0, float("nan"), float("inf"), None, True])
def test_bad_steps_are_refused(step: object) -> None:
    pen = ReweightedGroupLasso(torch.ones(2, 2), ROW2)
    with pytest.raises((TypeError, ValueError), match="step must be a"):
        pen.proximal_(step)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("threshold", "error", "says"),
    [
        (-1.0, ValueError, "at least 0; got -1.0"),
        (float("nan"), ValueError, "got nan"),
        ("1", TypeError, "threshold must be a number"),
        (torch.ones(2, 2), ValueError, r"grid's shape \(2, 1\); got \(2, 2\)"),
        (torch.tensor([[-1.0], [1.0]]), ValueError, "at least 0; got -1"),
        (torch.tensor([[torch.nan], [1.0]]), ValueError, "threshold must be finite; got 1 NaN"),
    ],
)
def test_bad_thresholds_are_refused(threshold: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        group_soft_threshold(torch.ones(2, 2), ROW2, threshold)  # type: ignore[arg-type]


def test_weights_on_the_meta_device_are_refused() -> None:
    with pytest.raises(ValueError, match="must hold numbers; got a tensor on the meta device"):
        ReweightedGroupLasso(torch.ones(2, 2, device="meta"), ROW2)
