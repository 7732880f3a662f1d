"""Structures, norms, scores and masks against loops in NumPy, finite differences and closed forms."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.pruning.groups import group_norms, group_scores
from blockprune_lib.pruning.structure import _KINDS, BlockStructure, expand

from ..helpers.references import (
    KINDS,
    LAYOUTS,
    expanded,
    grid_of,
    laid_out,
    matrix,
    named_cases,
    norms,
    sizes,
    structure_texts,
    structured_shapes,
)

ALL = [BlockStructure.parse(text) for text in structure_texts((2, 3))]


# --- the structure and its text ---


def test_the_tests_know_every_kind() -> None:
    assert list(KINDS) == list(_KINDS)


@pytest.mark.parametrize("structure", ALL, ids=str)
def test_text_repr_pickle_and_hash_come_back(structure: BlockStructure) -> None:
    assert BlockStructure.parse(str(structure)) == structure
    assert eval(repr(structure), {"BlockStructure": BlockStructure}) == structure
    assert pickle.loads(pickle.dumps(structure)) == copy.deepcopy(structure) == structure
    assert len({structure, BlockStructure.parse(f" {structure}\n")}) == 1


def test_the_six_forms() -> None:
    texts = ["irregular", "block_row:64", "block_column:32", "tile:32x16", "row", "column"]
    assert [(s.height, s.width) for s in map(BlockStructure.parse, texts)] == [
        (1, 1), (1, 64), (32, 1), (32, 16), (1, None), (None, 1),
    ]  # fmt: skip
    strips = ["rows", "columns", "rows", "rows", "columns", "rows"]
    assert [BlockStructure.parse(text).strips for text in texts] == strips


BAD_TEXTS = [
    "", "rows", "block_row", "block_row:", "block_row:0", "block_row:-4", "block_row:6.5", "block_row:4x4", "tile:4",
    "tile:4x", "tile:4 x 4", "tile:x4", "row:", "row:3", "irregular:1", "block_row:4:4", "block_row:٣", "Tile:4x4",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"forms are irregular, block_row:WIDTH|must be a whole number of at least 1"):
        BlockStructure.parse(text)


@pytest.mark.parametrize("text", [64, None, b"row", BlockStructure.row()])
def test_text_that_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(TypeError, match="such as 'block_row:64'"):
        BlockStructure.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [True, 2.0, "3", None, torch.tensor(2.5), torch.tensor([2, 3])])
def test_sides_that_are_no_ints_are_refused(side: object) -> None:
    with pytest.raises(TypeError, match=r"width must be a whole number of at least 1"):
        BlockStructure.block_row(side)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [0, -1, np.int64(0)])
def test_sides_below_one_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match="height must be a whole number of at least 1; got"):
        BlockStructure.tile(side, 4)


def test_numpy_ints_are_sides() -> None:
    assert BlockStructure.block_row(np.int32(8)) == BlockStructure.block_row(8)
    assert type(BlockStructure.block_row(np.int32(8)).width) is int


def test_kinds_keep_their_fixed_sides() -> None:
    with pytest.raises(ValueError, match="kind must be one of irregular, block_row"):
        BlockStructure("diagonal", 1, 1)
    with pytest.raises(ValueError, match=r"height of 'block_row' is fixed"):
        BlockStructure("block_row", 2, 8)


@given(structured_shapes())
def test_grid_sizes_and_description_match_the_loops(case: tuple[BlockStructure, tuple[int, int]]) -> None:
    structure, shape = case
    assert structure.grid(shape) == grid_of(structure, shape)
    assert (structure.sizes(shape).numpy() == sizes(structure, shape)).all()
    assert int(structure.sizes(shape).sum()) == shape[0] * shape[1]
    assert f"= {structure.sizes(shape).numel():,} groups" in structure.describe(shape)
    assert structure.describe().startswith(f"{structure}: ")


def test_the_block_may_overhang_few_rows_but_not_more() -> None:
    assert BlockStructure.block_column(16).group_shape((2, 384)) == (2, 1)
    assert BlockStructure.block_column(384).grid((2, 384)) == (1, 384)
    for structure, shape in [
        (BlockStructure.block_column(385), (2, 384)),
        (BlockStructure.block_row(65), (1000, 64)),
        (BlockStructure.tile(8, 9), (8, 8)),
        (BlockStructure.block_column(2), (1, 1)),
    ]:
        with pytest.raises(ValueError, match=r"block larger than the matrix.*a width up to \d+ and a height up to"):
            structure.grid(shape)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,), (2, 3, 4), (), (-1, 4)])
def test_shapes_that_are_no_matrix_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one row and one column"):
        BlockStructure.irregular().grid(shape)


@pytest.mark.parametrize("shape", [(2.0, 4), ("2", "4"), None, 3.5])
def test_shapes_that_are_no_ints_are_refused(shape: object) -> None:
    with pytest.raises(TypeError, match="two ints"):
        BlockStructure.irregular().grid(shape)  # type: ignore[arg-type]


@given(structured_shapes())
def test_regions_are_views_that_cover_every_element_once(case: tuple[BlockStructure, tuple[int, int]]) -> None:
    structure, shape = case
    count, grid = torch.zeros(shape), torch.zeros(structure.grid(shape))
    for cells, view in structure.regions(count):
        view += 1
        grid[cells] += 1
    assert (count == 1).all()
    assert (grid == 1).all()


# --- norms ---


@given(structured_shapes(), st.sampled_from(LAYOUTS), st.integers(0, 99))
def test_norms_match_the_loops(case: tuple[BlockStructure, tuple[int, int]], layout: str, seed: int) -> None:
    structure, shape = case
    values = matrix(shape, seed)
    found = group_norms(laid_out(values, layout), structure)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), norms(values, structure), rtol=2e-6)


@given(st.tuples(*[st.integers(1, 5)] * 4), st.sampled_from(LAYOUTS), st.integers(0, 99))
def test_norms_of_whole_blocks_are_plain_lines(sides: tuple[int, ...], layout: str, seed: int) -> None:
    R, r, C, c = sides
    weight = laid_out(matrix((R * r, C * c), seed), layout)
    view = weight.unflatten(0, (R, r)).unflatten(2, (C, c))
    plain = view.square().sum((1, 3)).sqrt()
    torch.testing.assert_close(group_norms(weight, BlockStructure.tile(r, c)), plain)


@pytest.mark.parametrize(("structure", "shape"), named_cases())
def test_norms_scores_and_masks_of_named_cases(structure: BlockStructure, shape: tuple[int, int]) -> None:
    values = matrix(shape)
    weight = torch.from_numpy(values).float()
    want = norms(values, structure)
    np.testing.assert_allclose(group_norms(weight, structure).numpy(), want, rtol=1e-5)
    np.testing.assert_allclose(
        group_scores(weight, structure).numpy(), want / np.sqrt(sizes(structure, shape)), rtol=1e-6
    )
    keep = want > np.median(want)
    mask = expand(torch.from_numpy(keep), structure, shape)
    assert (mask.numpy() == expanded(keep, structure, shape)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("structure", ALL, ids=str)
def test_every_float_type(structure: BlockStructure, dtype: torch.dtype) -> None:
    weight = torch.randn(7, 8).mul(100).to(dtype)  # squares of 300 overflow float16
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    found, scores = group_norms(weight, structure), group_scores(weight, structure)
    assert found.dtype == scores.dtype == wide
    want = norms(weight.double().numpy(), structure)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-6)
    np.testing.assert_allclose(scores.numpy(), want / np.sqrt(sizes(structure, (7, 8))), rtol=1e-6)


@pytest.mark.parametrize("structure", ALL, ids=str)
@pytest.mark.parametrize("scale", [1e-42, 1e-38, 1e-30, 1e-19, 1e19, 1e30, 1e37])
def test_huge_and_tiny_float32_weights(structure: BlockStructure, scale: float) -> None:
    values = matrix((5, 7), scale=scale)
    weight = torch.from_numpy(values).float()
    want = norms(values, structure)
    tolerance = {"rtol": 1e-5, "atol": 2e-45}  # the smallest float32 is 1.4e-45
    np.testing.assert_allclose(group_norms(weight, structure).double().numpy(), want, **tolerance)
    rms = want / np.sqrt(sizes(structure, (5, 7)))
    np.testing.assert_allclose(group_scores(weight, structure).double().numpy(), rms, **tolerance)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300, 1.5e308])
def test_huge_and_tiny_float64_weights(scale: float) -> None:
    weight = torch.tensor([[0.25, -0.5, 0.75, 1.0, 0.0, 0.0]], dtype=torch.float64) * scale
    want = torch.tensor([[np.sqrt(0.15625), np.sqrt(0.78125), 0.0]], dtype=torch.float64) * scale
    torch.testing.assert_close(group_scores(weight, BlockStructure.block_row(2)), want, rtol=1e-14, atol=0.0)


def test_huge_and_tiny_groups_rank_in_one_matrix() -> None:
    weight = torch.tensor([[1e-30, 1e-30, 2e-30, 2e-30, 1e30, 1e30, 2e30, 2e30, 0.0, 0.0]])
    found = group_norms(weight, BlockStructure.block_row(2))
    torch.testing.assert_close(found, torch.tensor([[1e-30, 2e-30, 1e30, 2e30, 0.0]]) * 2**0.5)
    torch.testing.assert_close(group_scores(weight, BlockStructure.block_row(2)), weight[:, ::2])


def test_a_norm_beyond_the_largest_float_is_refused() -> None:
    weight = torch.full((4, 100), 3e38)
    with pytest.raises(ValueError, match=r"beyond the largest float32; .double\(\) would do"):
        group_norms(weight, BlockStructure.row())
    assert (group_scores(weight, BlockStructure.row()) == weight[:, :1]).all()  # the root mean square is in range
    largest = torch.full((2, 3), torch.finfo(torch.float64).max, dtype=torch.float64)
    torch.testing.assert_close(group_scores(largest, BlockStructure.row()), largest[:, :1], rtol=1e-15, atol=0.0)


def test_scores_do_not_favour_size() -> None:
    weight = torch.full((5, 7), 0.1)
    for structure in [*ALL, BlockStructure.tile(4, 4), BlockStructure.block_row(5)]:
        assert group_scores(weight, structure).unique().tolist() == [weight[0, 0].item()]


# --- gradients ---


@given(structured_shapes(6), st.sampled_from(LAYOUTS))
def test_gradient_agrees_with_finite_differences(case: tuple[BlockStructure, tuple[int, int]], layout: str) -> None:
    structure, shape = case
    weight = laid_out(matrix(shape, 1), layout, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: group_norms(w, structure), weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradient_is_the_direction_of_the_group_and_zero_at_zero(dtype: torch.dtype) -> None:
    weight = torch.tensor([[3.0, -4.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, -5.0, 0.0]], dtype=dtype, requires_grad=True)
    group_norms(weight, BlockStructure.block_row(2)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == dtype
    want = torch.tensor([[0.6, -0.8, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, -1.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(weight.grad, want)


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e30])
def test_gradient_of_huge_and_tiny_weights_is_finite(scale: float) -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).mul(scale).requires_grad_()
    group_norms(weight, BlockStructure.block_row(2)).sum().mul(100).backward()
    assert weight.grad is not None
    if scale > 1e-38:  # below, the group counts as zero
        torch.testing.assert_close(weight.grad, torch.tensor([[60.0, 80.0], [0.0, 0.0]]))
    else:
        assert weight.grad.isfinite().all()


def test_gradient_flows_through_a_parameter_and_later_use() -> None:
    linear = torch.nn.Linear(6, 5)
    loss = linear(torch.ones(2, 6)).sum() + group_norms(linear.weight, BlockStructure.tile(2, 4)).square().sum()
    loss.backward()
    torch.testing.assert_close(linear.weight.grad, 2 + 2 * linear.weight.detach())  # the squared norms are ||W||²


def test_scores_carry_no_gradient() -> None:
    assert not group_scores(torch.randn(3, 3, requires_grad=True), BlockStructure.row()).requires_grad


# --- masks ---


@given(structured_shapes(), st.integers(0, 99))
def test_expand_matches_the_loops(case: tuple[BlockStructure, tuple[int, int]], seed: int) -> None:
    structure, shape = case
    keep = np.random.default_rng(seed).random(grid_of(structure, shape)) < 0.5
    mask = expand(torch.from_numpy(keep), structure, shape)
    assert mask.dtype == torch.bool
    assert mask.is_contiguous()
    assert (mask.numpy() == expanded(keep, structure, shape)).all()


def test_expand_refuses_what_is_no_grid() -> None:
    structure = BlockStructure.block_row(2)
    with pytest.raises(TypeError, match=r"keep must be a bool tensor, .*; got a torch.float32 tensor"):
        expand(torch.ones(2, 2), structure, (2, 4))
    with pytest.raises(TypeError, match="got list"):
        expand([[True]], structure, (1, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"grid's shape \(2, 2\) for block_row:2 over \(2, 4\); got \(2, 4\)"):
        expand(torch.ones(2, 4, dtype=torch.bool), structure, (2, 4))


# --- bad input ---

BAD_WEIGHTS = [
    (np.ones((2, 2)), TypeError, r"torch.from_numpy\(array\) would do"),
    ([[1.0, 2.0]], TypeError, r"got list: torch.tensor\(values\) would do"),
    (None, TypeError, "got NoneType"),
    (torch.ones(2, 2, dtype=torch.int64), TypeError, r"got torch.int64: .float\(\) would do"),
    (torch.ones(2, 2, dtype=torch.bool), TypeError, r"got torch.bool: .float\(\)"),
    (torch.ones(2, 2, dtype=torch.complex64), TypeError, "got torch.complex64"),
    (torch.eye(2).to_sparse(), TypeError, r"\.to_dense\(\) would do"),
    (torch.ones(4), ValueError, r"1 dimensions, shape \(4,\)"),
    (torch.ones(2, 2, 2), ValueError, "3 dimensions"),
    (torch.ones(0, 2), ValueError, r"at least one row and one column; got the shape \(0, 2\)"),
    (torch.ones(2, 0), ValueError, "at least one row"),
    (torch.ones(3, 1), ValueError, "weight: structure block_row:2: block larger than the matrix"),
    (torch.tensor([[1.0, torch.nan, 2.0], [torch.nan, torch.inf, 1.0]]), ValueError, "2 NaN and 1 infinite of 6"),
    (torch.tensor([[-torch.inf, 0.0]]).half(), ValueError, "0 NaN and 1 infinite of 2"),
]


@pytest.mark.parametrize("function", [group_norms, group_scores])
@pytest.mark.parametrize(("weight", "error", "says"), BAD_WEIGHTS, ids=[says[:24] for _, _, says in BAD_WEIGHTS])
def test_bad_weights_are_refused(function: object, weight: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        function(weight, BlockStructure.block_row(2))  # type: ignore[operator]


@pytest.mark.parametrize("structure", ALL, ids=str)
def test_one_nan_is_found_under_every_structure(structure: BlockStructure) -> None:
    weight = torch.randn(5, 7)
    weight[4, 6] = torch.nan
    for function in (group_norms, group_scores):
        with pytest.raises(ValueError, match="1 NaN"):
            function(weight, structure)


@pytest.mark.parametrize(
    ("structure", "says"), [("block_row:2", r"BlockStructure.parse\(text\)"), (2, "got int"), (None, "None")]
)
def test_a_structure_that_is_none_is_refused(structure: object, says: str) -> None:
    for function in (group_norms, group_scores):
        with pytest.raises(TypeError, match=says):
            function(torch.ones(2, 2), structure)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=says):
        expand(torch.ones(2, 1, dtype=torch.bool), structure, (2, 2))  # type: ignore[arg-type]
