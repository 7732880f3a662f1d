"""The ladder: every rung gives the reference's product, here and on lesser processors; assembly is read right."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from blockprune_lib import BlockStructure, pack
from blockprune_lib.kernels import ladder, linear_reference
from blockprune_lib.kernels.ladder import rungs, turned
from blockprune_lib.kernels.ladder.assembly import InnerLoop, inner_loop, read_loop
from blockprune_lib.kernels.ladder.pairs import as_pairs
from tests.helpers.references import structure_texts

HEIGHT = 2 * rungs.WIDTH
PANELS = BlockStructure.block_column(HEIGHT)
STRUCTURES = [BlockStructure.parse(text) for text in structure_texts((4, 4), (2, 3), (3, 8), (7, 2))]
TURNED = next(rung for rung in rungs.RUNGS if rung.turned)


def pruned(structure, shape, share=0.4):
    weight = torch.randn(shape)
    grid, (r, c) = structure.grid(shape), structure.group_shape(shape)
    keep = (torch.rand(grid) < share).repeat_interleave(r, 0).repeat_interleave(c, 1)
    keep[: 2 * r, : 2 * c] = True
    return pack(weight * keep[: shape[0], : shape[1]], structure)


def reference(x, packed):
    return linear_reference(x, packed.values, packed.columns, packed.offsets, packed.shape)


@pytest.mark.parametrize("rung", rungs.RUNGS, ids=lambda rung: rung.name)
@pytest.mark.parametrize("shape", [(64, 48), (70, 45)], ids=["even", "ragged"])
@pytest.mark.parametrize("extra", [0, 5])
def test_every_rung_gives_the_product(rung, shape, extra):
    packed = pruned(PANELS, shape)
    x = torch.randn(max(rung.tokens, 12) + extra, shape[1])
    y, want = rung(x, packed), reference(x, packed)
    if rung.sample:
        want = want[:2, : min(HEIGHT, shape[0])]
    assert y.shape == want.shape
    np.testing.assert_allclose(y.numpy(), want, atol=1e-4)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
@pytest.mark.parametrize("shape", [(33, 45), (8, 8), (9, 70)], ids=str)
@pytest.mark.parametrize("tokens", [1, 17, 8 * rungs.WIDTH])
def test_the_turned_rung_takes_every_structure(structure, shape, tokens):
    packed, x = pruned(structure, shape), torch.randn(tokens, shape[1])
    np.testing.assert_allclose(TURNED(x, packed).numpy(), reference(x, packed), atol=1e-4)


def rounded(numbers):
    return torch.as_tensor(numbers).bfloat16().float()


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
@pytest.mark.parametrize("shape", [(33, 45), (8, 8)], ids=str)
@pytest.mark.parametrize("rung", [rungs.PAIRS, rungs.PICKED], ids=lambda rung: rung.name)
def test_pairs_give_the_product_of_rounded_numbers(structure, shape, rung):
    packed = pruned(structure, shape)
    for tokens in (1, 17):
        x = torch.randn(tokens, shape[1])
        want = reference(rounded(x), pack(rounded(packed.to_dense()), structure))
        np.testing.assert_allclose(rung(x, packed).numpy(), want, atol=1e-4)


@pytest.mark.parametrize("rows", [2, 6, 384])
def test_pairs_begin_at_a_cache_line(rows):
    assert all(as_pairs(torch.randn(rows, 16)).data_ptr() % 64 == 0 for _ in range(8))


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_pieces_hold_each_kept_weight_once_and_at_most_four_outputs(structure):
    packed = pruned(structure, (33, 45))
    seen = np.zeros(packed.shape, int)
    for outputs, inputs in turned.pieces(packed):
        assert 1 <= len(outputs) <= 4
        assert len(inputs)
        seen[np.ix_(outputs, inputs)] += 1
    grid, (r, c) = packed.keep().numpy(), packed.group_shape
    np.testing.assert_array_equal(seen, np.kron(grid, np.ones((r, c), int))[:33, :45])


def test_an_input_that_no_output_kept_cannot_spoil_a_sum():
    weight, x = torch.ones(8, 6), torch.ones(3, 6)
    weight[:, 2], x[:, 2] = 0, torch.nan
    assert torch.equal(TURNED(x, pack(weight, BlockStructure.block_column(4))), torch.full((3, 8), 5.0))


@pytest.mark.parametrize("rung", rungs.RUNGS, ids=lambda rung: rung.name)
def test_a_matrix_of_which_nothing_is_left_gives_zeros(rung):
    packed = pack(torch.zeros(64, 48), PANELS)
    assert not rung(torch.randn(rung.tokens, 48), packed).any()


def test_turned_rungs_give_zeros_too_where_nothing_is_left():
    for structure in STRUCTURES:
        for rung in (TURNED, rungs.PAIRS, rungs.PICKED):
            y = rung(torch.randn(3, 20), pack(torch.zeros(8, 20), structure))
            assert y.shape == (3, 8)
            assert not y.any()


@pytest.mark.parametrize("rung", rungs.RUNGS, ids=lambda rung: rung.name)
def test_a_panel_without_columns_and_strided_tokens(rung):
    weight = pruned(BlockStructure.block_column(HEIGHT), (3 * HEIGHT, 20)).to_dense()
    weight[HEIGHT : 2 * HEIGHT] = 0
    packed = pack(weight, BlockStructure.block_column(HEIGHT))
    x = torch.randn(20, 14).t()
    y = rung(x, packed)
    np.testing.assert_allclose(y.numpy(), reference(x, packed)[: len(y), : y.shape[1]], atol=1e-4)


def test_what_a_rung_cannot_do_it_refuses():
    rung = next(rung for rung in rungs.RUNGS if rung.multiple > 1 and rung.tokens > 1)
    packed = pruned(BlockStructure.block_column(HEIGHT), (HEIGHT, 20))
    with pytest.raises(ValueError, match="x must have 6 tokens or more"):
        rung(torch.randn(2, 20), packed)
    with pytest.raises(ValueError, match="multiple of"):
        rung(torch.randn(8, 20), pruned(BlockStructure.block_column(HEIGHT - 1), (2 * HEIGHT, 20)))
    with pytest.raises(ValueError, match="packed must be block_column"):
        rung(torch.randn(8, 20), pruned(BlockStructure.block_row(4), (HEIGHT, 20)))
    with pytest.raises(TypeError, match="PackedMatrix"):
        rung(torch.randn(8, 20), packed.to_dense())
    for x in (torch.randn(8, 19), torch.randn(20), torch.randn(8, 20).double()):
        with pytest.raises(ValueError, match=r"x must be \(tokens, 20\) float32"):
            rung(x, packed)


def test_a_climb_counts_kept_arithmetic_and_prints_a_table():
    packed, x = pruned(BlockStructure.block_column(HEIGHT), (2 * HEIGHT, 40)), torch.randn(12, 40)
    result = rungs.climb(x, packed, rungs.RUNGS[:3], peak=100.0, repeats=3)
    assert list(result.flops) == [rung.name for rung in rungs.RUNGS[:3]]
    assert result.flops["compiled"] == 2 * 12 * packed.elements
    assert result.flops["Python"] == 2 * 2 * HEIGHT * int(packed.offsets[1])
    assert result.dense_flops == 2 * 12 * 2 * HEIGHT * 40
    slow, middle, fast = result.rate("compiled")
    assert 0 < slow <= middle <= fast
    ratio = middle / result.break_even
    assert ratio == pytest.approx(result.comparison.medians["dense"] / result.comparison.medians["compiled"])
    assert result.comparison.threads["torch"] == 1
    assert "neighbours" in repr(result)
    assert "<th" in result._repr_html_()
    with pytest.raises(ValueError, match="something to time"):
        rungs.climb(x, packed, [])
    with pytest.raises(ValueError, match="something to time"):
        rungs.climb(x, pack(torch.zeros(2 * HEIGHT, 40), BlockStructure.block_column(HEIGHT)))


def test_a_climb_compares_with_the_first_dense_product_it_is_given():
    packed, x = pruned(BlockStructure.block_column(HEIGHT), (HEIGHT, 40)), torch.randn(6, 40)
    weight = packed.to_dense()
    products = {"other": lambda: x @ weight.T, "dense": lambda: torch.nn.functional.linear(x, weight)}
    result = rungs.climb(x, packed, rungs.RUNGS[1:2], repeats=3, dense=products)
    medians = result.comparison.medians
    assert list(medians) == ["other", "dense", "compiled"]
    assert result.dense_gflops == pytest.approx(result.dense_flops / medians["other"] / 1e6)
    assert result.rate("compiled")[1] / result.break_even == pytest.approx(medians["other"] / medians["compiled"])
    part = result.only(["compiled"], dense="dense")
    assert (list(part.flops), part.comparison.baseline) == (["compiled"], "dense")
    assert part.rate("compiled") == result.rate("compiled")
    assert part.dense_gflops == pytest.approx(result.dense_flops / medians["dense"] / 1e6)
    with pytest.raises(ValueError, match="dense must hold a product"):
        rungs.climb(x, packed, rungs.RUNGS[1:2], dense={})


def test_rungs_have_a_name_each_and_say_what_the_machine_does():
    assert len({rung.name for rung in rungs.RUNGS}) == len(rungs.RUNGS)
    assert all(rung.now for rung in rungs.RUNGS)
    assert all(rung.source.startswith("def ") for rung in rungs.RUNGS if rung.kernel is not None)
    assert rungs.RUNGS[-1].source == ""


GENERIC = """
import numpy as np, torch
from tests.kernels.test_ladder import PANELS, STRUCTURES, TURNED, pruned, reference, rungs
from blockprune_lib.machine.pairs import HAS_PAIRS
from blockprune_lib.machine.simd import LANES
torch.manual_seed(0)
assert LANES == 4, LANES
for rung in rungs.RUNGS:
    if rung.kernel is not None:
        packed = pruned(PANELS, (70, 45))
        x = torch.randn(rung.tokens + 7, 45)
        y = rung(x, packed)
        np.testing.assert_allclose(y.numpy(), reference(x, packed)[: len(y), : y.shape[1]], atol=1e-4)
for structure in STRUCTURES:
    packed, x = pruned(structure, (70, 45)), torch.randn(5, 45)
    np.testing.assert_allclose(TURNED(x, packed).numpy(), reference(x, packed), atol=1e-4)
    for rung in (rungs.PAIRS, rungs.PICKED):
        np.testing.assert_allclose(rung(x, packed).numpy(), reference(x, packed), atol=0.2)
assert not HAS_PAIRS
"""


def test_every_rung_is_right_on_the_least_of_processors(tmp_path):
    variables = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", GENERIC], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_inner_loop_of_a_tile_has_twelve_vectors_a_step():
    kernel = next(rung.kernel for rung in rungs.RUNGS if rung.name == "6 x 2 tile")
    loop = inner_loop(kernel)
    if not loop:
        pytest.skip("this assembly is not one that can be read")
    assert (loop.fused + loop.multiplies) % 12 == 0
    assert loop.scalar == 0
    assert loop.arithmetic == (loop.fused + loop.multiplies) * loop.lanes
    assert "a turn" in repr(loop)
    assert "<table" in loop._repr_html_()
    assert (inner_loop(kernel, signed=True).arithmetic) % (12 * loop.lanes) == 0


def test_the_inner_loop_of_the_turned_kernel_spills_nothing():
    loop = inner_loop(TURNED.kernel)
    if not loop:
        pytest.skip("this assembly is not one that can be read")
    assert (loop.fused + loop.multiplies) % 8 == 0
    assert loop.stores == loop.scalar == 0


@pytest.mark.parametrize("kernel", [None, 3, len, lambda: None])
def test_what_is_no_kernel_gives_an_empty_loop(kernel):
    assert not inner_loop(kernel)
    assert inner_loop(kernel) == InnerLoop()


X86 = """
\t.p2align 4
.LBB0_1:
\tmovq\t%rax, %rcx             # a comment (with brackets)
.LBB0_2:
\tmovl\t(%r9,%rcx,4), %r9d
\tvmovups\t-32(%r10,%r15), %ymm13
\tvbroadcastss\t(%rdi,%r9,4), %ymm15
\tvfmadd231ps\t%ymm13, %ymm15, %ymm5
\tvfmadd231ps\t32(%r10,%r15), %ymm15, %ymm6
\tvmovups\t%ymm6, (%r14,%rcx,4)
\tprefetcht0\t(%r10)
\tleaq\t(%r9,%r9,2), %r9
\tjg\t.LBB0_2
\tjne\t.LBB0_1
.LBB0_3:
\tvfmadd231ss\t(%rdi), %xmm1, %xmm0
\tmulps\t%xmm1, %xmm2
\tjne\t.LBB0_3
"""
ARM = """
.LBB0_2:
\tldp\tq0, q1, [x9, #-16]
\tldr\ts2, [x11, x12, lsl #2]
\tld1r\t{ v3.4s }, [x13]
\tfmla\tv16.4s, v0.4s, v2.s[0]
\tfmla\tv17.4s, v1.4s, v3.4s  // a comment
\tfmadd\ts4, s5, s6, s4
\tstr\tq16, [x14], #16
\tsubs\tx8, x8, #1
\tb.ne\t.LBB0_2
"""


def test_x86_is_read():
    loop = read_loop(X86)
    found = (loop.fused, loop.multiplies, loop.scalar, loop.loads, loop.broadcasts, loop.stores, loop.others)
    assert found == (2, 0, 0, 4, 1, 1, 3)
    assert (loop.lanes, loop.arithmetic) == (8, 16)
    assert loop.text.startswith(".LBB0_2:\nmovl")
    assert loop.text.endswith("jg .LBB0_2")


def test_avx512_broadcasts_inside_an_instruction():
    loop = read_loop(".LBB0_1:\n vfmadd231ps (%rdi,%rax,4){1to16}, %zmm1, %zmm2\n jne .LBB0_1")
    assert (loop.fused, loop.loads, loop.broadcasts, loop.lanes) == (1, 1, 1, 16)


def test_arm_is_read():
    loop = read_loop(ARM)
    found = (loop.fused, loop.multiplies, loop.scalar, loop.loads, loop.broadcasts, loop.stores, loop.others)
    assert found == (2, 0, 1, 4, 1, 1, 2)
    assert (loop.lanes, loop.arithmetic) == (4, 9)


@pytest.mark.parametrize("text", ["", "nothing", ".LBB0_1:\n addq $1, %rax\n jne .LBB0_1", "\x00"])
def test_what_has_no_arithmetic_is_empty(text):
    assert read_loop(text) == InnerLoop()


@pytest.mark.parametrize("steps", [0, 1, 7, 60])
def test_one_chain_is_the_recurrence(steps):
    out, total = np.full(rungs.WIDTH, np.nan, np.float32), 2.0
    for _ in range(steps):
        total = total * 0.5 + 0.5
    ladder.one_chain(out, steps)
    np.testing.assert_allclose(out, np.full(rungs.WIDTH, total, np.float32), rtol=1e-6)
