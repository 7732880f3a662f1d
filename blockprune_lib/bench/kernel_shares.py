"""The products of a compiled encoder alone, on one thread, as shares of the peak: what is left to gain in the kernels.

Activations are features x tokens, as inside the encoder, so nothing is transposed. Each product is timed in two ways:

    hot       the same matrix again and again: its weights stay in the nearest cache that holds them
    in turns  matrices of `APART` bytes in all, one after the other, as in an encoder: weights come from further away
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import carray

from ..kernels.amx_product import amx_product_rows, multiply_in_tiles
from ..kernels.intrinsics import UNKNOWN
from ..kernels.pair_product import FLOATS, SCRATCH_ROWS, multiply_in_pairs
from ..kernels.precision import PRECISIONS, check_precision
from ..kernels.product import multiply
from ..kernels.records import MATRIX, filled, pointer_to
from ..kernels.tile_loop import ROW, VECTORS, WIDTH
from ..kernels.walk import Walk
from ..machine.amx_tiles import HAS_TILES, configure_tiles, release_tiles
from ..machine.native import inner
from ..machine.pairs import pairs_of
from ..pruning.packing import pack
from .case import Case, What
from .engine import Calls, Engine
from .matrix import problem_of
from .measuring import Progress, measure_all, measured
from .records import Record
from .rivals import SHORT
from .settings import KernelSettings, MatrixCase

#: Bytes of all matrices that take turns, those of BERT-base's encoder at rate 5, and how many of them differ.
APART, DIFFERENT = 64 << 20, 8
#: Largest error that passes, relative to the largest number of the answer.
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2}
#: A turn lasts so long that what the turn before left in the caches does not matter.
TURN_MS = 10.0

_matrices = pointer_to(MATRIX)


# Neither is kept on disk: an entry would not notice that the kernels, which stand in another folder, have changed.
@inner(nogil=True)
def _product(matrix: int, x: int, y: int, pitch: int, vectors: int, scratch: int) -> None:
    """One product, all its parts; the first three and `scratch` are addresses, `pitch` is in bytes."""
    one = carray(_matrices(matrix), (UNKNOWN,))[0]
    for part in range(one.runs):
        multiply(one, part, x, y, pitch, vectors, 0, 0)


@inner(nogil=True)
def _product_in_pairs(matrix: int, x: int, y: int, pitch: int, vectors: int, scratch: int) -> None:
    """The same on pairs of bfloat16; results are float32."""
    one = carray(_matrices(matrix), (UNKNOWN,))[0]
    for part in range(one.runs):
        multiply_in_pairs(one, part, x, y, pitch, vectors, FLOATS, 0, 0, scratch)


@inner(nogil=True)
def _product_in_tiles(matrix: int, x: int, y: int, pitch: int, vectors: int, scratch: int) -> None:
    """The same in tiles of AMX."""
    one = carray(_matrices(matrix), (UNKNOWN,))[0]
    configure_tiles()
    for part in range(one.runs):
        multiply_in_tiles(one, part, x, y, pitch, vectors, FLOATS, 0, 0, scratch)
    release_tiles()


def in_pairs(x: np.ndarray) -> np.ndarray:
    """Float32 (inputs, tokens) as bfloat16, two inputs of a token in the 32 bits of one float32."""
    if len(x) % 2:
        x = np.concatenate([x, np.zeros_like(x[:1])])
    return pairs_of(x[::2], x[1::2]).view(np.float32)


class Kernel(NamedTuple):
    """How a precision's products are called: the function, what makes of activations what it reads, rows of scratch."""

    product: Callable[..., None]
    activations: Callable[[np.ndarray], np.ndarray]
    scratch_rows: Callable[[int], int]


KERNELS: Mapping[str, Kernel] = {
    "float32": Kernel(_product, lambda x: x, lambda inputs: 1),
    "bfloat16": Kernel(_product_in_tiles, in_pairs, amx_product_rows) if HAS_TILES else
                Kernel(_product_in_pairs, in_pairs, lambda inputs: SCRATCH_ROWS),
}  # fmt: skip


def bench_kernels(*, progress: Progress = None, **settings: Any) -> Record:
    """Time the products of a compiled encoder, weights in the cache, beside the peak; the record prints itself.

    shapes      (outputs, inputs) of each matrix
    structures  structures as text; the default has all kinds, from groups of four to tiles of 32 x 32
    rates, tokens   all groups ÷ kept groups; rows of x
    repeats, warmup, seed   as in `compare`
    precisions  "float32", "bfloat16": shares are of the peak in that precision

    Each answer is compared with float64 before it is timed. Raises ValueError or TypeError for wrong settings.
    """
    asked = KernelSettings(**settings)
    for precision in asked.precisions:
        check_precision(precision)
        if precision not in KERNELS:
            raise ValueError(f"precisions must be of {', '.join(KERNELS)} here; got {precision!r}")

    def measure(case: MatrixCase) -> Case:
        engines: dict[str, Callable[[], Engine]] = {}
        for precision in asked.precisions:
            engines |= {key: partial(_engine, key, case, asked.seed, precision) for key in _keys(precision)}
        first, *rest = engines
        problem = problem_of(case, asked.seed)
        kept = int(problem.weight.count_nonzero())
        given = case._asdict() | {"shape": list(case.shape)}
        what = What(**given, kept=kept, density=kept / problem.weight.numel())
        return measured(
            what, 2.0 * case.tokens * kept, {first: engines[first]}, {key: engines[key] for key in rest}, asked,
            TOLERANCES, reference=problem.reference(), turn_ms=TURN_MS,
        )  # fmt: skip

    return measure_all("kernels", asked, measure, progress)


def _keys(precision: str) -> tuple[str, str]:
    return f"hot {SHORT[precision]}", f"in turns {SHORT[precision]}"


def _engine(key: str, case: MatrixCase, seed: int, precision: str) -> Engine:
    """A product of one matrix, or of many in turns; the answer is that of the first."""
    kernel, outputs = KERNELS[precision], case.shape[0]
    vectors = -(-case.tokens // WIDTH)
    pitch = (vectors + VECTORS | 1) * WIDTH  # an odd number of vectors, as in the encoder
    given = kernel.activations(np.ascontiguousarray(problem_of(case, seed).x.numpy().T))
    x, y = aligned(len(given), pitch), aligned(outputs, pitch)
    scratch = aligned(kernel.scratch_rows(case.shape[1]), ROW // 4)
    x[:, : case.tokens] = given
    records = _records(case, seed, precision, many=not key.startswith("hot"))
    turns = itertools.cycle([record.ctypes.data for record, _ in records])
    rest = x.ctypes.data, y.ctypes.data, 4 * pitch, vectors, scratch.ctypes.data

    def run() -> None:
        kernel.product(next(turns), *rest)

    def answer(kept: Any = (records, x, scratch)) -> np.ndarray:
        kernel.product(records[0][0].ctypes.data, *rest)
        return y[:, : case.tokens].T.astype(np.float64)

    return Engine(key, key, *Calls(run, answer), precision, structure=case.structure)


def _records(case: MatrixCase, seed: int, precision: str, many: bool) -> list[tuple[np.ndarray, Walk]]:
    """The first matrix of a case, or as many as fill `APART` bytes; of these only `DIFFERENT` differ."""

    def walks() -> Iterator[Walk]:
        for number in range(DIFFERENT):
            problem = problem_of(case, seed + number)
            with torch.no_grad():
                yield PRECISIONS[precision].walk(pack(problem.weight, problem.structure))

    if not many:
        return [_record(next(walks()))]
    found = list(walks())
    count = max(len(found), math.ceil(APART / sum(getattr(found[0], name).nbytes for name in TABLES)))
    return [_record(found[number % DIFFERENT]) for number in range(count)]


#: The arrays of a walk that a kernel reads.
TABLES = ("values", "index", "strips", "bands", "blocks", "sets", "parts")


def _record(walk: Walk) -> tuple[np.ndarray, Any]:
    """A matrix's record with tables of its own, and what keeps these alive."""
    tables = {name: getattr(walk, name).copy() for name in TABLES}
    tables["values"] = aligned(1, walk.values.size)[0].view(walk.values.dtype)
    tables["values"][:] = walk.values
    record = filled(
        MATRIX, kind=walk.kind, outputs=walk.outputs, inputs=walk.inputs, bias=0, height=walk.height,
        runs=len(walk.parts) - 1, **{name: table.ctypes.data for name, table in tables.items()},
    )  # fmt: skip
    return record, tables


def aligned(rows: int, columns: int) -> np.ndarray:
    """Zeros float32 (rows, columns) from the start of a cache line on."""
    room = np.zeros(rows * columns + 16, np.float32)
    start = -(room.ctypes.data // 4) % 16
    return room[start : start + rows * columns].reshape(rows, columns)
