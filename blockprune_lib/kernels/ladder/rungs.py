"""A ladder from the naive loop to the library's kernel: the same product, one change a rung, one stopwatch for all.

    y[t, m] = sum over the stored weights of output m of x[t, n] W[m, n]

The rungs up to "6 x 2 tile" are for panels (block_column); the last two take any structure. Left out: bias, gradients,
threads, other float types. Importing this file imports Numba; each rung compiles at its first call, or loads from disk.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._common.tables import Printed
from ...machine.comparison import Comparison
from ...machine.simd import WIDTH
from ...machine.timing import compare
from ...pruning.packing import PackedMatrix
from ..arguments import check_packed
from ..functional import linear
from .loops import gather, one_column, one_output, unrolled
from .pairs import as_pairs, four_by_four_pairs, four_by_four_picked, pair_tables
from .turned import KERNELS, TURNED_TOKENS, tables
from .vector import TOKENS, one_vector, six_by_two, six_sums


@dataclass(frozen=True)
class Rung:
    """One way to compute the product: its name, what it does `now` that the rung before did not do, and the kernel.

    kernel   (x, values, columns, offsets, y) → None, or None for `bp.linear`; Numba's, or plain Python
    turned   takes x and gives y as (features, tokens), for any structure; its kernel has another argument, `rows`
    pairs    is turned, with x and the weights in bfloat16, which rounds them to 8 significant bits
    picked   joins the halves of a pair from any two inputs, where `pairs` takes neighbours
    tokens   fewest tokens it takes; `multiple`: the height of a panel must be a multiple of it
    sample   so slow that two tokens and the first panel have to do
    """

    name: str
    now: str
    kernel: Callable[..., None] | None
    turned: bool = False
    pairs: bool = False
    picked: bool = False
    tokens: int = 1
    multiple: int = 1
    sample: bool = False

    @property
    def source(self) -> str:
        """The kernel's Python code without its decorator and annotations; empty for `bp.linear`."""
        if self.kernel is None:
            return ""
        text = inspect.getsource(getattr(self.kernel, "py_func", self.kernel))
        for written, plain in ((": np.ndarray", ""), (" -> None", ""), ("(\n    x,", "(x,"), ("y\n):", "y):")):
            text = text.replace(written, plain)
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("@"))

    def ready(self, x: Tensor, packed: PackedMatrix) -> Callable[[], Tensor]:
        """Check and arrange the operands once; what is returned multiplies, (T, N) x → (T, M), at each call.

        A rung with `sample` returns 2 x height of them. Where the rung is `turned`, x is turned here, and what is
        returned is a view. Raises ValueError for another structure, shape or type, for too few tokens and for a height
        that is no multiple.
        """
        self._check(x, packed)
        x = x.contiguous()
        if self.kernel is None:
            return lambda: linear(x, packed)
        if self.turned:
            return self._turned(x, packed)
        kernel, (M, _), (steps, c, r) = self.kernel, packed.shape, packed.values.shape
        values = packed.values.detach().reshape(steps, r * c).contiguous().numpy()
        columns, offsets = packed.columns.numpy().astype(np.uint32), packed.offsets.numpy()
        if self.sample:
            x, offsets, M = x[:2], offsets[:2], min(r, M)
        numbers, padded = x.numpy(), (len(offsets) - 1) * r

        def product() -> Tensor:
            # torch's memory begins at a multiple of 64 bytes: a vector across two cache lines is two reads or writes.
            y = torch.empty(len(numbers), padded, dtype=torch.float32, device="cpu")
            kernel(numbers, values, columns, offsets, y.numpy())
            return y[:, :M]

        return product

    def _turned(self, x: Tensor, packed: PackedMatrix) -> Callable[[], Tensor]:
        """The product on pieces, x turned once and filled up to whole tiles of tokens and whole pairs of inputs."""
        T, (M, N) = len(x), packed.shape
        values, columns, offsets, rows = pair_tables(packed, self.picked) if self.pairs else tables(packed)
        kernel = self.kernel if self.pairs else KERNELS[rows.shape[1]]
        padded = -(-T // TURNED_TOKENS) * TURNED_TOKENS
        turned = torch.zeros(N + N % 2, padded, dtype=torch.float32, device="cpu")
        turned[:N, :T] = x.detach().T
        numbers = as_pairs(turned) if self.pairs else turned

        def product() -> Tensor:
            y = torch.zeros(M + 1, padded, dtype=torch.float32, device="cpu")
            kernel(numbers.numpy(), values, columns, offsets, rows, y.numpy())  # type: ignore[misc]
            return y[:M, :T].T

        return product

    def __call__(self, x: Tensor, packed: PackedMatrix) -> Tensor:
        """The product, once."""
        return self.ready(x, packed)()

    def flops(self, x: Tensor, packed: PackedMatrix) -> int:
        """2 for each stored weight and token that the rung multiplies."""
        if not self.sample:
            return 2 * len(x) * packed.elements
        return 2 * min(2, len(x)) * int(packed.offsets[1]) * min(packed.group_shape[0], packed.shape[0])

    def _check(self, x: Tensor, packed: PackedMatrix) -> None:
        check_packed(packed)
        height, width = packed.group_shape
        if width != 1 and not self.turned and self.kernel is not None:
            raise ValueError(f"packed must be block_column for the rung {self.name!r}; got {packed.structure}")
        if x.ndim != 2 or x.shape[1] != packed.shape[1] or x.dtype != torch.float32 or not x.is_cpu:
            got = f"{tuple(x.shape)} {x.dtype} on {x.device}"
            raise ValueError(f"x must be (tokens, {packed.shape[1]}) float32 on the CPU; got {got}")
        if len(x) < self.tokens:
            raise ValueError(f"x must have {self.tokens} tokens or more for the rung {self.name!r}; got {len(x)}")
        if height % self.multiple:
            needed = f"a height that is a multiple of {self.multiple}"
            raise ValueError(f"packed must have {needed} for the rung {self.name!r}; got {height}")
        packed.validate()


#: The rungs in their order, from a loop to a tile in registers.
RUNGS: tuple[Rung, ...] = (
    Rung("Python", "interprets the program anew for each multiplication", one_output.py_func, sample=True),
    Rung("compiled", "runs machine code, one number at a time", one_output),
    Rung("neighbours", "works on neighbours, many at once", one_column),
    Rung("gather + matmul", "copies the kept columns of x, then does the dense product for each panel", gather),
    Rung("4 x 4 unrolled", "does sixteen multiply-adds for each visit to four sums", unrolled, tokens=4),
    Rung("one vector", "keeps one vector of sums in a register", one_vector, multiple=WIDTH),
    Rung("six sums", "keeps six vectors of sums, of six tokens", six_sums, tokens=TOKENS, multiple=WIDTH),
    Rung("6 x 2 tile", "keeps twelve vectors of sums: six tokens times two vectors of outputs", six_by_two,
         tokens=TOKENS, multiple=2 * WIDTH),
    Rung("turned", "has neighbouring tokens in a vector, not neighbouring outputs", KERNELS[4], turned=True),
    Rung("bp.linear", "picks one of the last two by the shape of the groups; handles edges, bias and threads", None),
)  # fmt: skip


#: The turned rung in bfloat16. It and `PICKED` are no rungs of the ladder, since their results are rounded.
PAIRS = Rung("pairs", "multiplies two bfloat16 in each lane", four_by_four_pairs, turned=True, pairs=True)
#: The turned rung in bfloat16 for single columns: each lane takes halves of two rows.
PICKED = Rung(
    "picked pairs", "puts pairs together on the way", four_by_four_picked, turned=True, pairs=True, picked=True
)


@dataclass(frozen=True, repr=False)
class Climb(Printed):
    """Rates of rungs that took turns with the dense product, in GFLOP/s of *kept* arithmetic; prints as a table."""

    comparison: Comparison
    flops: dict[str, int]
    dense_flops: int
    density: float
    peak: float | None

    @property
    def disturbed(self) -> dict[str, float]:
        """The rungs whose times are not to be trusted, as `Comparison.disturbed` has them."""
        return self.comparison.disturbed

    def rate(self, name: str) -> tuple[float, float, float]:
        """(first quartile, median, third quartile) of a rung in GFLOP/s, 2 FLOP for each *kept* weight and token."""
        timing = self.comparison.timings[name]
        slow, middle, fast = (self.flops[name] / ms / 1e6 for ms in (timing.q3, timing.median, timing.q1))
        return slow, middle, fast

    @property
    def dense_gflops(self) -> float:
        """Rate of the dense product that the rungs are compared with, all of whose arithmetic counts."""
        return self.dense_flops / self.comparison.medians[self.comparison.baseline] / 1e6

    @property
    def break_even(self) -> float:
        """The rate at which a rung takes as long as the dense product: density x the dense rate."""
        return self.density * self.dense_gflops

    def only(self, names: Iterable[str], dense: str | None = None) -> Climb:
        """The same rounds with these rungs alone; they are compared with `dense`, one of the dense products timed."""
        shown = list(names)
        kept = self.comparison.only(shown, self.comparison.baseline if dense is None else dense)
        return replace(self, comparison=kept, flops={name: self.flops[name] for name in shown})

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("", "× dense", "% of peak", "GFLOP/s", "quartiles")]
        for name in self.flops:
            slow, middle, fast = self.rate(name)
            share = _digits(100 * middle / self.peak) if self.peak else "?"
            spread = f"{_digits(slow, 3)}–{_digits(fast, 3)}"
            rows.append((name, _digits(middle / self.break_even, 3), share, _digits(middle, 3), spread))
        return rows

    def _caption(self) -> str:
        dense = f"the dense product, which does all of it at {self.dense_gflops:.3g} GFLOP/s"
        how = f"density {self.density:.3g}, {self.comparison.rounds} rounds in turns, 1 thread"
        shaken = f"; disturbed: {', '.join(self.disturbed)}" if self.disturbed else ""
        return f"GFLOP/s: of kept arithmetic; × dense: times as fast as {dense}; {how}{shaken}"


def _digits(value: float, count: int = 2) -> str:
    """A number with `count` digits that count, its last zeros too, and no fewer before the point: 242, 1.0, 0.0036."""
    return f"{value:.{max(0, count - len(str(int(value))))}f}" if value >= 1 else f"{value:#.{count}g}"


def climb(
    x: Tensor,
    packed: PackedMatrix,
    rungs: Sequence[Rung] = RUNGS,
    *,
    peak: float | None = None,
    repeats: int = 9,
    dense: Mapping[str, Callable[[], Any]] | None = None,
) -> Climb:
    """Time `rungs` and the dense product on x (T, N) in turns, on one thread; `peak` (GFLOP/s) is for the table.

    `dense` names other dense products of x, such as those of `bench.dense.products`, to be timed in place of
    `torch.nn.functional.linear`; the rungs are compared with the first. Raises ValueError where no weight is kept, no
    rung or no dense product is given, or a rung does not take such groups or so few tokens.
    """
    if not rungs or not packed.elements or not len(x):
        counts = f"{len(rungs)} rungs, {packed.elements} weights and {len(x)} tokens"
        raise ValueError(f"rungs, packed and x must have something to time; got {counts}")
    weight = packed.to_dense()
    functions = dict({"dense": lambda: torch.nn.functional.linear(x, weight)} if dense is None else dense)
    if not functions:
        raise ValueError("dense must hold a product to compare with; got none: leave it out for torch's own")
    baseline = next(iter(functions))
    functions |= {rung.name: rung.ready(x, packed) for rung in rungs}
    comparison = compare(functions, baseline=baseline, repeats=repeats, warmup=1, lead_in=1, threads=1)
    flops = {rung.name: rung.flops(x, packed) for rung in rungs}
    return Climb(comparison, flops, 2 * len(x) * weight.numel(), packed.density, peak)
