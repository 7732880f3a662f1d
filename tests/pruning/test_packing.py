"""Packing against an explicit loop over groups; the round trip bit for bit; damage that is found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.pruning.packing import PackedMatrix, pack
from blockprune_lib.pruning.structure import BlockStructure

from ..helpers.references import LAYOUTS, boxes, expanded, grid_of, laid_out, matrix, named_cases, structured_shapes

ROW2, TILE = BlockStructure.block_row(2), BlockStructure.tile(2, 3)


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    kind = kinds[left.element_size()]
    return left.dtype == right.dtype and torch.equal(left.contiguous().view(kind), right.contiguous().view(kind))


def pruned(structure: BlockStructure, shape: tuple[int, int], density: float, seed: int = 0) -> np.ndarray:
    keep = np.random.default_rng(seed).random(grid_of(structure, shape)) < density
    return matrix(shape, seed) * expanded(keep, structure, shape)


@given(structured_shapes(), st.sampled_from(LAYOUTS), st.sampled_from([0.0, 0.3, 0.8, 1.0]), st.integers(0, 99))
def test_groups_lie_where_the_loops_say(
    case: tuple[BlockStructure, tuple[int, int]], layout: str, density: float, seed: int
) -> None:
    structure, shape = case
    values = pruned(structure, shape, density, seed)
    packed = pack(laid_out(values, layout), structure).validate()
    c, r = packed.values.shape[1:]
    columns, counts, groups = [], [0] * packed.grid[0], []
    for i, j, down, across in boxes(structure, shape):
        if np.any(values[down, across]):
            padded = np.zeros((c, r))
            padded[: across.stop - across.start, : down.stop - down.start] = values[down, across].T
            groups.append(padded)
            columns.append(j)
            counts[i] += 1
    assert (r, c) == structure.group_shape(shape) == packed.group_shape
    assert packed.columns.tolist() == columns
    assert packed.offsets.tolist() == [0, *np.cumsum(counts)]
    np.testing.assert_array_equal(packed.values.numpy(), np.array(groups).reshape(-1, c, r))
    assert (packed.values.is_contiguous(), packed.columns.dtype, packed.offsets.dtype) == (
        True,
        torch.int32,
        torch.int64,
    )


@given(
    structured_shapes(),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.integers(0, 99),
)
def test_round_trip_is_bit_for_bit(case: tuple[BlockStructure, tuple[int, int]], dtype: torch.dtype, seed: int) -> None:
    structure, shape = case
    weight = laid_out(pruned(structure, shape, 0.5, seed), "transposed", dtype) + 0.0  # + 0.0: no -0.0 from the product
    packed = pack(weight, structure)
    assert same_bits(packed.to_dense(), weight)
    assert packed.keep().sum() == packed.groups
    assert packed.elements == sum(
        (down.stop - down.start) * (across.stop - across.start)
        for i, j, down, across in boxes(structure, shape)
        if packed.keep()[i, j]
    )


@pytest.mark.parametrize(("structure", "shape"), named_cases())
@pytest.mark.parametrize("density", [0.0, 0.25, 1.0])
def test_named_cases_come_back(structure: BlockStructure, shape: tuple[int, int], density: float) -> None:
    weight = torch.from_numpy(pruned(structure, shape, density)).float() + 0.0
    assert same_bits(pack(weight, structure).validate().to_dense(), weight)


def test_minus_zero_stays_in_a_kept_group_and_not_in_a_dropped_one() -> None:
    weight = torch.tensor([[-0.0, 1.0, -0.0, -0.0]])
    packed = pack(weight, ROW2)
    assert packed.groups == 1
    assert same_bits(packed.to_dense(), torch.tensor([[-0.0, 1.0, 0.0, 0.0]]))


def test_smallest_and_largest_floats_survive() -> None:
    weight = torch.tensor([[1e-45, 0.0, 3.4e38, -3.4e38, 0.0, 0.0]])
    packed = pack(weight, ROW2)
    assert packed.groups == 2
    assert same_bits(packed.to_dense(), weight)


def test_an_empty_and_a_full_matrix() -> None:
    nothing = pack(torch.zeros(4, 6), TILE).validate()
    assert (nothing.groups, nothing.density, nothing.bytes_values) == (0, 0.0, 0)
    assert same_bits(nothing.to_dense(), torch.zeros(4, 6))
    full = pack(torch.ones(5, 7), TILE)
    assert (full.groups, full.density) == (9, 1.0)


def test_a_support_is_stored_whether_it_is_zero_or_not() -> None:
    structure, weight = BlockStructure.block_row(2), torch.tensor([[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    keep = torch.tensor([[False, True], [True, False]])
    packed = pack(weight, structure, keep)
    assert packed.values.tolist() == [[[1.0], [2.0]], [[0.0], [0.0]]]
    assert (packed.columns.tolist(), packed.offsets.tolist()) == ([1, 0], [0, 1, 2])
    assert torch.equal(packed.to_dense(), weight)
    with pytest.raises(ValueError, match="keep leaves out 1 groups that are not zero"):
        pack(weight, structure, torch.zeros(2, 2, dtype=torch.bool))
    for wrong in (keep[:1], keep.float(), [[True]]):
        with pytest.raises(ValueError, match=r"keep must be a bool tensor of the grid's shape \(2, 2\)"):
            pack(weight, structure, wrong)


def test_bytes_by_hand() -> None:
    weight = torch.zeros(4, 6)
    weight[0, 0] = weight[3, 5] = 1.0
    packed = pack(weight, TILE)
    assert packed.bytes_values == 2 * 6 * 4
    assert packed.bytes_indices == 2 * 4 + 3 * 8
    assert packed.bytes_total == packed.bytes_values + packed.bytes_indices == 80
    assert packed.bytes_dense == 4 * 6 * 4
    assert packed.density == 0.5
    assert pack(weight.half(), TILE).bytes_values == 2 * 6 * 2
    for words in (
        "4 x 6, float32",
        "2 of 4 stored, 2 x 3 each",
        "50.00%",
        "48 bytes",
        "32 bytes",
        "80 bytes, 83.3% of dense",
    ):
        assert words in repr(packed)


def test_packing_copies_and_carries_no_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 4))
    packed = pack(weight, ROW2)
    assert not packed.values.requires_grad
    with torch.no_grad():
        weight.zero_()
    assert (packed.values == 1).all()


def test_to_dense_carries_the_gradient_of_values() -> None:
    packed = pack(torch.tensor([[1.0, 2.0, 0.0, 0.0, 5.0]]), ROW2)
    packed = dataclasses.replace(packed, values=packed.values.requires_grad_())
    (packed.to_dense() * torch.arange(5.0)).sum().backward()
    assert packed.values.grad is not None
    assert packed.values.grad.tolist() == [[[0.0], [1.0]], [[4.0], [0.0]]]


@pytest.mark.parametrize(
    ("weight", "error", "says"),
    [
        (np.ones((2, 2)), TypeError, "from_numpy"),
        (torch.ones(2, 2).int(), TypeError, r"\.float\(\)"),
        (torch.ones(2), ValueError, "1 dimensions"),
        (torch.ones(0, 2), ValueError, "at least one row"),
        (torch.ones(2, 1), ValueError, "larger than the matrix"),
        (torch.tensor([[torch.nan, torch.inf]]), ValueError, "1 NaN and 1 infinite"),
    ],
)
def test_bad_weights_are_refused(weight: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        pack(weight, ROW2)  # type: ignore[arg-type]


def test_a_structure_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="structure must be a BlockStructure"):
        pack(torch.ones(2, 2), "block_row:2")  # type: ignore[arg-type]


# --- validate: a kernel may trust what passed ---


def sound() -> PackedMatrix:
    weight = torch.ones(3, 5)  # tiles of 2 x 3: a grid of 2 x 2 with a ragged edge on both sides
    return pack(weight, TILE)


def spoilt(values: torch.Tensor) -> torch.Tensor:
    values = values.clone()
    values[2, 0, 1] = 7.0
    return values


def spoilt_right(values: torch.Tensor) -> torch.Tensor:
    values = values.clone()
    values[1, 2, 0] = 7.0
    return values


DAMAGE = {
    "a column beyond the grid": ("columns", lambda t: t + 1, r"columns must lie in 0 to 1; outside: 2 of 4"),
    "a negative column": ("columns", lambda t: t - 1, "outside: 2 of 4"),
    "columns out of order": ("columns", lambda t: t.flip(0), "ascend within each row"),
    "a column twice": ("columns", lambda t: t * 0, "without repeats"),
    "columns of int64": ("columns", lambda t: t.long(), "must be a 1-D torch.int32 tensor; got 1-D torch.int64"),
    "columns as a matrix": ("columns", lambda t: t[None], "got 2-D"),
    "a column too few": ("columns", lambda t: t[:-1], r"offsets must run from 0 to 3; got 0 to 4"),
    "offsets of int32": ("offsets", lambda t: t.int(), "offsets must be a 1-D torch.int64"),
    "an offset too few": ("offsets", lambda t: t[:-1], "must have 3 entries for 2 rows of groups; got 2"),
    "offsets that start late": ("offsets", lambda t: t.clamp(min=1), "run from 0 to 4; got 1 to 4"),
    "offsets that fall": ("offsets", lambda t: torch.tensor([0, 5, 4]), "must not fall"),
    "negative offsets": ("offsets", lambda t: torch.tensor([0, -1, 4]), "must not fall"),
    "values of another shape": ("values", lambda t: t.transpose(1, 2).contiguous(), r"\(4, 3, 2\); got \(4, 2, 3\)"),
    "a group too few": ("values", lambda t: t[:-1], r"\(4, 3, 2\); got \(3, 3, 2\)"),
    "integer values": ("values", lambda t: t.int(), "values must hold floats"),
    "values not contiguous": ("values", lambda t: t.transpose(1, 2).contiguous().transpose(1, 2), "contiguous"),
    "columns not contiguous": ("columns", lambda t: t.repeat_interleave(2)[::2], "columns must be contiguous"),
    "a NaN": ("values", lambda t: t * torch.nan, "24 NaN"),
    "padding below": ("values", spoilt, "beyond the matrix's edge must be zero"),
    "padding at the right": ("values", spoilt_right, "beyond the matrix's edge must be zero"),
}  # fmt: skip


def test_the_sound_matrix_is_sound() -> None:
    packed = sound()
    assert packed.validate() is packed


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str) -> None:
    field, change, says = DAMAGE[name]
    broken = dataclasses.replace(sound(), **{field: change(getattr(sound(), field))})
    with pytest.raises(ValueError, match=says):
        broken.validate()


def test_validate_refuses_what_is_no_tensor() -> None:
    with pytest.raises((TypeError, ValueError), match="columns must be a tensor"):
        dataclasses.replace(sound(), columns=[0, 1, 0, 1]).validate()  # type: ignore[arg-type]
