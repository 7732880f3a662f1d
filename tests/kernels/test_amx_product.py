"""Products in tiles against NumPy in float64: every kind, form of results, seed, activation and number of tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import carray

from blockprune_lib.kernels.amx_walk import BROUGHT, DIRECT, SCATTERED, amx_walk_of
from blockprune_lib.kernels.product import ACTIVATIONS
from blockprune_lib.kernels.records import MATRIX, filled, pointer_to
from blockprune_lib.kernels.tile_loop import ROW, VECTORS, WIDTH
from blockprune_lib.machine.amx_tiles import HAS_TILES, configure_tiles, release_tiles
from blockprune_lib.machine.native import native
from blockprune_lib.pruning import BlockStructure, pack

from .test_walk import pruned

if not HAS_TILES:
    pytest.skip("no AMX here", allow_module_level=True)

from blockprune_lib.kernels.amx_product import amx_product_rows, multiply_in_tiles
from blockprune_lib.kernels.intrinsics import UNKNOWN
from blockprune_lib.kernels.pair_product import FLOATS, HALVES, PAIRS
from blockprune_lib.machine.pairs import pairs_of

_matrices = pointer_to(MATRIX)
#: (structure, outputs, inputs) of every kind, with ragged sides.
CASES = [("tile:32x32", 96, 128, DIRECT), ("tile:16x64", 80, 192, DIRECT), ("irregular", 49, 70, DIRECT),
         ("block_column:32", 97, 201, BROUGHT), ("block_column:64", 130, 768, BROUGHT),
         ("block_column:16", 50, 29, BROUGHT), ("block_row:64", 300, 320, SCATTERED),
         ("block_row:64", 139, 771, SCATTERED)]  # fmt: skip


@native
def product(matrix, x, y, pitch, vectors, form, residual, activation, scratch):
    one = carray(_matrices(matrix), (UNKNOWN,))[0]
    configure_tiles()
    for part in range(one.runs):
        multiply_in_tiles(one, part, x, y, pitch, vectors, form, residual, activation, scratch)
    release_tiles()


def exact(*shape):
    numbers = np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(numbers).bfloat16().float().numpy()


def rounded(y):
    return torch.from_numpy(np.asarray(y, np.float32)).bfloat16().float().numpy()


@pytest.mark.parametrize(("text", "outputs", "inputs", "kind"), CASES)
@pytest.mark.parametrize("tokens", [1, 16, 17, 33, 64])
@pytest.mark.parametrize("form", [PAIRS, HALVES, FLOATS])
def test_every_kind_and_form(text, outputs, inputs, kind, tokens, form):
    check(*pruned(text, outputs, inputs, 5.0), kind, tokens, form)


@pytest.mark.parametrize("empty", [slice(0, 32), slice(32, 64), slice(64, 96), slice(0, 96)])
def test_outputs_that_keep_nothing(empty):
    weight = exact(96, 64)
    weight[:, ::3] = weight[empty] = 0
    structure = BlockStructure.parse("block_column:32")
    packed = pack(torch.from_numpy(weight), structure)
    check(packed, torch.from_numpy(weight), None, 33, FLOATS)


def check(packed, weight, kind, tokens, form):
    """The product by the kernel against NumPy; `kind`: that the walk must have, None: any."""
    outputs, inputs = packed.shape
    walk, bias = amx_walk_of(packed), exact(outputs)
    assert kind is None or walk.kind == kind
    vectors = -(-tokens // WIDTH)
    columns = (vectors + VECTORS) * WIDTH
    x, residual = np.zeros((inputs + inputs % 2, columns), np.float32), exact(outputs, columns)
    x[:inputs, :tokens] = exact(inputs, tokens)
    pairs = pairs_of(x[::2], x[1::2])
    y = np.full((outputs + 1, columns), 7.0, np.float32)
    scratch = np.zeros(amx_product_rows(inputs) * ROW // 4 + 16, np.float32)
    record = filled(
        MATRIX, kind=walk.kind, outputs=outputs, inputs=inputs, bias=bias.ctypes.data, height=walk.height,
        runs=len(walk.parts) - 1, **{name: getattr(walk, name).ctypes.data for name in
                                     ("values", "index", "strips", "bands", "blocks", "sets", "parts")},
    )  # fmt: skip
    wanted = weight.bfloat16().double().numpy() @ x[:inputs, :tokens].astype(float) + bias[:, None]
    activation = 0
    if form == FLOATS:
        wanted += residual[:, :tokens]
    elif form == PAIRS:
        activation, wanted = ACTIVATIONS["relu"], np.maximum(wanted, 0)
    product(record.ctypes.data, pairs.ctypes.data, y.ctypes.data, y.strides[0], vectors, form,
            residual.ctypes.data if form == FLOATS else 0, activation, scratch.ctypes.data)  # fmt: skip
    if form == FLOATS:
        found = y[:outputs, :tokens]
        assert (y[outputs] == 7).all()  # nothing beyond the last row was written
    elif form == HALVES:
        halves = (y.view(np.uint16).reshape(-1, columns)[:outputs].astype(np.uint32) << 16).view(np.float32)
        found = halves[:, :tokens]
    else:
        words = y.view(np.uint32)[: (outputs + 1) // 2]
        both = np.stack([words << 16, words & 0xFFFF0000], 1).view(np.float32).reshape(-1, columns)
        found = both[:outputs, :tokens]
    np.testing.assert_allclose(found, wanted if form == FLOATS else rounded(wanted), atol=2e-4, rtol=2**-7)
