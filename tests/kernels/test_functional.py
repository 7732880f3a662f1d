"""The kernels against NumPy in float64, and their gradients against autograd on the dense masked matrix.

Tolerance: a sum of n products in float32, in any order, is off by at most about n * 2^-24 * sum |w x|; tests allow
4e-7 * sqrt(n) + 1e-6 times sum |w x|, which random rounding stays well below and a wrong index does not.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear as dense_linear

from blockprune_lib import BlockSparseLinear, BlockStructure, PackedMatrix, expand, pack
from blockprune_lib.kernels import linear, linear_reference

from ..helpers.references import structure_texts

STRUCTURES = structure_texts(
    (1, 8), (2, 32), (3, 5), (4, 1), (8, 2), (16, 16), (20, 3), (24, 64), (32, 32), (40, 7)
)  # fmt: skip


def pruned(shape: tuple[int, int], structure: BlockStructure, density: float, seed: int = 0) -> Tensor:
    """A random weight whose groups are kept with probability `density`."""
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(structure.grid(shape), generator=generator) < density
    return torch.randn(shape, generator=generator) * expand(keep, structure, shape)


def reference(x: Tensor, packed: PackedMatrix, bias: Tensor | None = None) -> np.ndarray:
    parts = [p.detach().resolve_neg().numpy() for p in (x, packed.values, packed.columns, packed.offsets)]
    return linear_reference(*parts, packed.shape, None if bias is None else bias.detach().numpy())


def assert_close(got: Tensor, want: np.ndarray, magnitude: np.ndarray, terms: int) -> None:
    bound = (4e-7 * np.sqrt(terms) + 1e-6) * magnitude + 1e-30
    worst = np.max(np.abs(got.detach().numpy() - want) / bound, initial=0)
    assert worst <= 1, f"error is {worst:.3g} times what is allowed"


def check_product(x: Tensor, packed: PackedMatrix, bias: Tensor | None = None) -> None:
    got = linear(x, packed, bias)
    assert got.shape == (*x.shape[:-1], packed.shape[0])
    absolute = PackedMatrix(packed.structure, packed.shape, packed.values.abs(), packed.columns, packed.offsets)
    magnitude = reference(x.abs(), absolute, None if bias is None else bias.abs())
    assert_close(got, reference(x, packed, bias), magnitude, packed.shape[1])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, PackedMatrix, Tensor | None]:
    shape = draw(st.tuples(st.integers(1, 90), st.integers(1, 150)))
    fits = []
    for text in STRUCTURES:
        try:
            BlockStructure.parse(text).group_shape(shape)
            fits.append(text)
        except ValueError:
            pass
    structure = BlockStructure.parse(draw(st.sampled_from(fits)))
    seed = draw(st.integers(0, 10_000))
    scale = draw(st.sampled_from([1.0, 1e-30, 1e15]))
    packed = pack(pruned(shape, structure, draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])), seed) * scale, structure)
    leading = draw(st.sampled_from([(), (0,), (1,), (3,), (7,), (2, 5), (33,), (2, 0, 3), (100,)]))
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(*leading, shape[1], generator=generator)
    layout = draw(st.sampled_from(["plain", "transposed", "every other column", "wider rows", "expanded"]))
    if layout == "transposed":
        x = x.transpose(0, -1).contiguous().transpose(0, -1)
    elif layout == "every other column":
        x = torch.repeat_interleave(x, 2, dim=-1)[..., ::2]
    elif layout == "wider rows":
        x = torch.cat([x, x], dim=-1)[..., : shape[1]]
    elif layout == "expanded" and x.ndim > 1 and x.shape[0] > 0:
        x = x[:1].expand_as(x)
    bias = torch.randn(shape[0], generator=generator) if draw(st.booleans()) else None
    return x, packed, bias


@given(cases())
@settings(max_examples=100)
def test_product_agrees_with_the_reference(case: tuple[Tensor, PackedMatrix, Tensor | None]) -> None:
    check_product(*case)


@pytest.mark.parametrize("tokens", [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 31, 95, 96, 97, 100, 129, 200])
@pytest.mark.parametrize("structure", ["block_column:16", "block_column:8", "block_row:32", "tile:32x32"])
def test_every_number_of_tokens(structure: str, tokens: int) -> None:
    packed = pack(pruned((48, 96), BlockStructure.parse(structure), 0.4), BlockStructure.parse(structure))
    check_product(torch.randn(tokens, 96), packed, torch.randn(48))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_on_a_ragged_matrix(structure: str) -> None:
    s = BlockStructure.parse(structure)
    check_product(torch.randn(2, 19, 101), pack(pruned((77, 101), s, 0.3), s), torch.randn(77))


def test_several_chunks_and_bands() -> None:
    for text in ("block_row:64", "block_column:32", "row"):
        s = BlockStructure.parse(text)
        check_product(torch.randn(211, 320), pack(pruned((330, 320), s, 0.2), s))


# Cases that once failed, or nearly did: (structure, shape, density, tokens)
ONCE_FAILED = {
    "a classifier lower than the block": ("block_column:16", (2, 64), 1.0, 9),
    "one weight": ("irregular", (1, 1), 1.0, 1),
    "nothing left": ("tile:32x32", (64, 64), 0.0, 5),
    "the last group of a panel overhangs": ("tile:16x16", (16, 17), 1.0, 6),
    "weights end in the middle of a vector": ("block_column:3", (3, 2), 1.0, 4),
    "a run of eight rows is two sets of four": ("block_row:2", (8, 2), 1.0, 70),
}


@pytest.mark.parametrize("name", ONCE_FAILED)
def test_cases_that_once_failed(name: str) -> None:
    text, shape, density, tokens = ONCE_FAILED[name]
    s = BlockStructure.parse(text)
    check_product(torch.randn(tokens, shape[1]), pack(pruned(shape, s, density), s), torch.randn(shape[0]))


@given(cases())
@settings(max_examples=60)
def test_gradients_agree_with_dense_times_mask(case: tuple[Tensor, PackedMatrix, Tensor | None]) -> None:
    x, packed, bias = case
    scale = float(packed.values.abs().max()) if packed.values.numel() else 1.0
    packed = PackedMatrix(packed.structure, packed.shape, packed.values / scale, packed.columns, packed.offsets)
    x, values = x.detach().requires_grad_(), packed.values.detach().requires_grad_()
    bias = None if bias is None else bias.requires_grad_()
    trained = PackedMatrix(packed.structure, packed.shape, values, packed.columns, packed.offsets)
    grad = torch.randn(*x.shape[:-1], packed.shape[0])
    y = linear(x, trained, bias)
    y.backward(grad)

    x64 = x.detach().double().requires_grad_()
    values64 = values.detach().double().requires_grad_()
    bias64 = None if bias is None else bias.detach().double().requires_grad_()
    dense = PackedMatrix(packed.structure, packed.shape, values64, packed.columns, packed.offsets).to_dense()
    dense_linear(x64, dense, bias64).backward(grad.double())
    pairs = [(x, x64), (values, values64)] + ([(bias, bias64)] if bias is not None else [])
    for ours, theirs in pairs:
        size = max(float(theirs.grad.abs().max()) if theirs.numel() else 0.0, 1e-6)
        assert ours.grad.shape == theirs.grad.shape
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0, atol=3e-5 * size)


@pytest.mark.parametrize("structure", ["block_row:4", "block_column:8", "tile:4x3"])
def test_gradients_agree_with_finite_differences(structure: str) -> None:
    s = BlockStructure.parse(structure)
    packed = pack(pruned((10, 9), s, 0.6).double(), s)
    values, x, bias = packed.values.requires_grad_(), torch.randn(3, 9).double(), torch.randn(10).double()
    probe = torch.randn(3, 10).double()

    def loss(x: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        return (linear(x, PackedMatrix(s, (10, 9), values, packed.columns, packed.offsets), bias) * probe).sum()

    x32, v32, b32 = (t.detach().float().requires_grad_() for t in (x, values, bias))
    (linear(x32, PackedMatrix(s, (10, 9), v32, packed.columns, packed.offsets), b32) * probe.float()).sum().backward()
    for ours, at in ((x32, 0), (v32, 1), (b32, 2)):
        for index in np.ndindex(tuple(ours.shape)):
            if at == 1 and float(values.detach()[index]) == 0:
                continue  # padding, which must stay zero
            ends = []
            for step in (1e-4, -1e-4):
                moved = [t.detach().clone() for t in (x, values, bias)]
                moved[at][index] += step
                ends.append(float(loss(*moved).detach()))
            assert float(ours.grad[index]) == pytest.approx((ends[0] - ends[1]) / 2e-4, abs=1e-4)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    s = BlockStructure.block_row(4)
    packed = pack(torch.randn(6, 8), s)
    x, bias = torch.randn(2, 8), torch.zeros(6, requires_grad=True)
    linear(x, packed, bias).sum().backward()
    assert x.grad is None
    assert packed.values.grad is None
    torch.testing.assert_close(bias.grad, torch.full((6,), 2.0))
    assert not linear(x, packed).requires_grad


def test_weights_that_change_are_read_anew() -> None:
    """The way back of groups of one row reads a reordered copy of the weights, which may not be old."""
    for text in ("block_column:3", "block_row:16"):
        s = BlockStructure.parse(text)
        packed = pack(torch.randn(9, 16), s)
        x = torch.randn(5, 16, requires_grad=True)
        for _ in range(2):
            y = linear(x, packed)
            torch.testing.assert_close(y, dense_linear(x, packed.to_dense()))
            grad = torch.autograd.grad(y.sum(), x)[0]
            torch.testing.assert_close(grad, packed.to_dense().sum(0).expand_as(x), rtol=1e-4, atol=1e-5)
            packed.values.mul_(-2)


def test_nan_in_x_reaches_only_what_reads_it() -> None:
    weight = torch.ones(16, 64)
    weight[:, 32:] = 0
    for s in (BlockStructure.tile(16, 32), BlockStructure.block_row(32)):
        x = torch.ones(9, 64)
        x[4, 3], x[5, 40] = float("nan"), float("nan")
        y = linear(x, pack(weight, s))
        assert y[4].isnan().all()
        torch.testing.assert_close(y[[0, 1, 2, 3, 5, 6, 7, 8]], torch.full((8, 16), 32.0))


def test_infinity_beside_the_edge_stays_infinity() -> None:
    weight = torch.ones(4, 5)
    x = torch.ones(3, 5)
    x[:, 4] = float("inf")
    for s in (BlockStructure.tile(4, 3), BlockStructure.block_row(3)):
        assert linear(x, pack(weight, s)).isinf().all()


MEMORY = {
    "a file that may not be written": lambda x, folder: torch.from_numpy(
        np.memmap(saved(x, folder), np.float32, "r", shape=tuple(x.shape))
    ),
    "between the places of floats": lambda x, folder: torch.frombuffer(
        bytearray(b"..." + x.numpy().tobytes()), dtype=torch.float32, offset=3
    ).view(x.shape),
    "the other sign of it": lambda x, folder: torch.complex(x, -x).conj().imag,
    "that sign without a stride": lambda x, folder: torch._neg_view(-x),
    "every second of it": lambda x, folder: torch.stack([x, torch.full_like(x, torch.nan)], -1)[..., 0],
    "rows that overlap": lambda x, folder: x[0].repeat(2).as_strided(x.shape, (1, 1)),
    "one number": lambda x, folder: x[0, :1].expand(x.shape),
    "of an inference": lambda x, folder: inferred(x),
}


def saved(x: Tensor, folder: Path) -> Path:
    path = folder / f"{len([*folder.iterdir()])}"
    path.write_bytes(x.numpy().tobytes())
    return path


def inferred(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
@pytest.mark.parametrize("where", MEMORY)
@pytest.mark.parametrize("text", ["block_row:16", "block_column:16", "tile:3x5"])
def test_whatever_memory_x_weights_and_bias_lie_in(text: str, where: str, tmp_path: Path) -> None:
    structure, lay = BlockStructure.parse(text), MEMORY[where]
    packed, x = pack(pruned((37, 40), structure, 0.5), structure), lay(torch.randn(9, 40), tmp_path)
    check_product(x, packed)
    if "sign" in where or where in ("rows that overlap", "one number"):
        return  # no weights lie like that
    values, bias = lay(packed.values.reshape(1, -1), tmp_path), lay(torch.randn(1, 37), tmp_path)[0]
    elsewhere = PackedMatrix(structure, packed.shape, values.view(packed.values.shape), packed.columns, packed.offsets)
    if elsewhere.values.is_contiguous():
        check_product(x, elsewhere, bias)
        torch.testing.assert_close(linear(x, elsewhere, bias), linear(x, packed, bias))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_type_is_near_the_dense_product_in_it(dtype: torch.dtype) -> None:
    s = BlockStructure.block_column(8)
    packed = pack(pruned((16, 12), s, 0.5).to(dtype), s)
    x, bias = torch.randn(4, 12).to(dtype), torch.randn(16).to(dtype)
    torch.testing.assert_close(linear(x, packed, bias), dense_linear(x, packed.to_dense(), bias))


def test_other_devices_take_the_dense_path() -> None:
    s = BlockStructure.block_column(8)
    packed = pack(torch.randn(16, 12), s)
    parts = [part.to("meta") for part in (packed.values, packed.columns, packed.offsets)]
    with pytest.raises(ValueError, match=r"x must be on the device of the weights, meta"):
        linear(torch.randn(4, 12), PackedMatrix(s, (16, 12), *parts))


@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("activation", [None, "gelu"])
def test_under_autocast_the_result_has_the_type_of_a_dense_layers(cast: torch.dtype, activation: str | None) -> None:
    """It is computed in the weights' type; in float64, with which autocast does nothing, all stays."""
    layer = BlockSparseLinear(8, 6, BlockStructure.block_row(4), activation=activation)
    dense, x = layer.dense(), torch.randn(3, 8)
    for each in (x, x.to(cast), x.clone().requires_grad_()):
        exact = layer(each.float())
        with torch.autocast("cpu", cast):
            found, wanted = layer(each), dense(each)
            plain = linear(each, layer.packed, layer.bias, activation=activation)
        assert found.dtype == plain.dtype == wanted.dtype == cast
        assert torch.equal(found, exact.to(cast))
        found.float().sum().backward()
        assert layer.values.grad is not None
        assert layer.values.grad.dtype == torch.float32
    with torch.autocast("cpu", cast):
        assert layer.double()(x.double()).dtype == torch.float64


PACKED = pack(torch.ones(6, 8), BlockStructure.block_row(4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(2, 8), torch.ones(6, 8)), TypeError, "packed must be a PackedMatrix; got Tensor"),
        ((np.ones((2, 8)), PACKED), TypeError, "x must be a torch.Tensor; got ndarray"),
        ((torch.ones(2, 8), PACKED, [0.0] * 6), TypeError, "bias must be a torch.Tensor; got list"),
        ((torch.ones(2, 7), PACKED), ValueError, r"x must have shape \(\.\.\., 8\) for a 6 x 8 matrix; got \(2, 7\)"),
        ((torch.tensor(1.0), PACKED), ValueError, r"x must have shape \(\.\.\., 8\).*got \(\)"),
        ((torch.ones(2, 8), PACKED, torch.ones(8)), ValueError, r"bias must have shape \(6,\).*got \(8,\)"),
        ((torch.ones(2, 8).double(), PACKED), TypeError, "x must have the type of the weights, torch.float32; got"),
        ((torch.ones(2, 8).long(), PACKED), TypeError, "x must have the type of the weights"),
        ((torch.ones(2, 8), PACKED, torch.ones(6).half()), TypeError, "bias must have the type of the weights"),
        ((torch.ones(2, 8, device="meta"), PACKED), ValueError, "x must be on the device of the weights, cpu"),
    ],
)
def test_bad_input(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        linear(*arguments)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("columns", torch.tensor([0, 2], dtype=torch.int32), "columns must lie in 0 to 1; outside: 1 of 2"),
        ("columns", torch.tensor([-1, 1], dtype=torch.int32), "columns must lie in 0 to 1"),
        ("columns", torch.tensor([1, 0], dtype=torch.int32), "columns must ascend"),
        ("columns", torch.tensor([0, 1]), "columns must be a 1-D torch.int32"),
        ("offsets", torch.tensor([0, 9]), "offsets must run from 0 to 2"),
        ("offsets", torch.tensor([0, 1, 2]), "offsets must have 2 entries"),
        ("values", torch.ones(3, 4, 1), "values must have shape"),
        ("values", torch.ones(2, 8, 1)[:, ::2], "values must be contiguous"),
    ],
)
def test_indices_are_checked_before_a_kernel_runs(part: str, value: Tensor, message: str) -> None:
    good = {"values": torch.ones(2, 4, 1), "columns": torch.tensor([0, 1], dtype=torch.int32)}
    parts = good | {"offsets": torch.tensor([0, 2])} | {part: value}
    packed = PackedMatrix(BlockStructure.block_row(4), (1, 8), **parts)
    with pytest.raises(ValueError, match=message):
        linear(torch.ones(2, 8), packed)


def test_values_that_were_resized_are_refused() -> None:
    packed = pack(torch.ones(6, 8), BlockStructure.block_row(4))
    linear(torch.ones(2, 8), packed)
    packed.values.data = torch.ones(1, 4, 1)
    with pytest.raises(ValueError, match="values must keep its shape"):
        linear(torch.ones(2, 8), packed)


def test_writes_through_data_are_seen() -> None:
    packed = pack(torch.ones(5, 8), BlockStructure.block_column(5))
    linear(torch.ones(2, 8), packed)
    packed.values.data.mul_(3)
    assert torch.equal(linear(torch.ones(2, 8), packed), torch.full((2, 5), 24.0))


CHUNKED = ["block_column:16", "block_column:20", "block_column:5", "tile:16x16", "tile:40x7", "block_row:64", "row"]


@pytest.mark.parametrize("structure", [*CHUNKED, "block_row:20"])
def test_gradients_over_several_chunks_of_tokens(structure: str) -> None:
    s = BlockStructure.parse(structure)
    packed = pack(pruned((77, 101), s, 0.4), s)
    x, grad = torch.randn(300, 101, requires_grad=True), torch.randn(300, 77)
    values = packed.values.clone().requires_grad_()
    linear(x, PackedMatrix(s, (77, 101), values, packed.columns, packed.offsets)).backward(grad)
    values64 = packed.values.double().requires_grad_()
    dense = PackedMatrix(s, (77, 101), values64, packed.columns, packed.offsets).to_dense()
    dense_linear(x.detach().double(), dense).backward(grad.double())
    torch.testing.assert_close(values.grad.double(), values64.grad, rtol=0, atol=2e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradients_do_not_depend_on_threads(threads: int) -> None:
    before = torch.get_num_threads()
    s = BlockStructure.block_row(16)
    packed = pack(pruned((96, 128), s, 0.5), s)
    x, grad = torch.randn(150, 128), torch.randn(150, 96)
    results = []
    for count in (1, threads):
        torch.set_num_threads(count)
        values = packed.values.clone().requires_grad_()
        linear(x, PackedMatrix(s, (96, 128), values, packed.columns, packed.offsets)).backward(grad)
        results.append(values.grad)
    torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.parametrize("structure", ["block_column:16", "block_column:5", "block_row:32", "block_row:5", "irregular"])
@pytest.mark.parametrize("tokens", [1, 2, 7, 13, 40])
def test_gelu_follows_in_the_same_pass(structure: str, tokens: int) -> None:
    s = BlockStructure.parse(structure)
    packed, bias = pack(pruned((37, 64), s, 0.5), s), torch.randn(37)
    x = torch.randn(tokens, 64)
    want = torch.nn.functional.gelu(linear(x, packed, bias).double())
    assert (linear(x, packed, bias, activation="gelu").double() - want).abs().max() < 1e-6 + 2e-7 * want.abs().max()


def test_gelu_is_the_exact_form_everywhere() -> None:
    """Against SciPy's error function, through a product with the identity: at most 1e-6 off for |x| <= 12."""
    from scipy.special import erfc

    x = torch.cat([torch.linspace(-12, 12, 200_001), torch.tensor([0.0, -0.0, 1e-30, 3e38, -3e38])])
    packed = pack(torch.eye(8), BlockStructure.block_column(8))
    got = linear(x[:, None].expand(-1, 8), packed, activation="gelu")[:, 3].double().numpy()
    exact = 0.5 * x.double().numpy() * erfc(-x.double().numpy() / np.sqrt(2))
    assert np.abs(got - exact)[np.abs(x.numpy()) <= 12].max() < 1e-6
    assert got[-2] == float(np.float32(3e38))
    assert got[-1] == 0
    with torch.no_grad():
        odd = torch.tensor([[float("inf")], [float("nan")]]).expand(-1, 1)
        one = pack(torch.ones(1, 1), BlockStructure.irregular())
        y = linear(odd.contiguous(), one, activation="gelu")
    assert y[0].isinf()
    assert y[1].isnan()


def test_gelu_under_autograd_is_torchs() -> None:
    packed = pack(torch.randn(8, 8), BlockStructure.block_column(8))
    x = torch.randn(5, 8, requires_grad=True)
    y = linear(x, packed, activation="gelu")
    want = torch.nn.functional.gelu(linear(x, packed))
    assert torch.equal(y, want)
    ours, theirs = (torch.autograd.grad(z.sum(), x)[0] for z in (y, want))
    assert torch.equal(ours, theirs)


def test_other_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="activation must be 'gelu' or None; got 'tanh'"):
        linear(torch.ones(1, 8), PACKED, activation="tanh")
