"""What each kind of matrix costs inside the whole model, measured on this machine under every structure and rate.

One trial model has every matrix cut in the same way, `start`. For each shape of a matrix and each other cut there is
one more, in which all matrices of that shape are cut so. They take turns with `start`, whole calls each, so that a
matrix is timed where it will stand: in the compiled encoder, with the caches as the matrices before it left them.

    ms of a matrix under a cut = (call with the cut - call of `start`) / matrices of that shape  + a constant

The constant puts a matrix without a group at 0 ms: a line for each structure through its times against density, and all
of them meet there. What the matrices do not take is `rest_ms`: embeddings, attention, LayerNorm, head. Equal shapes are
measured once. What these calls do not tell from 0 ms is printed as "< ...".

A solver finds the cut whose time was measured too short by chance. So the times are lower quartiles, since other
programs disturb some calls and only ever lengthen them, and of one structure a denser cut is never the quicker one: the
nearest such times are taken (isotonic regression).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._common.checks import positive_int, whole_number
from .._common.evaluating import evaluating
from .._common.tables import Printed
from ..data.limits import most_tokens
from ..machine.comparison import Timing
from ..machine.peak import fastest_precision
from ..machine.timing import compare, measure
from ..pruning.packing import pack
from .block_sparse_linear import BlockSparseLinear
from .convert import round_values_
from .cost_line import at_no_group, rising, standard_error
from .engine import encoders_of
from .places import put_
from .trial import Cut, Ranking, candidates, linears_of, shared_copy, sparse_trial

Example = Mapping[str, Tensor] | Tensor
Shape = tuple[int, int]
#: How many trial models are held at a time, beside the one that all are compared with.
TOGETHER = 6
#: What the matrices can take of a call: the lines of a tiny model, whose times are noise, might say more than all.
MOST = 0.95
#: A call of a whole model: what it returns does not matter.
Call = Callable[[], object]
#: Seconds of some clock.
Clock = Callable[[], float]


@dataclass(frozen=True, repr=False)
class LayerCosts(Printed):
    """What a matrix takes under each cut, in ms, by its shape (outputs, inputs); `print` shows a table.

    cuts       the candidates, in the order of every list in `ms`
    ms         {shape: ms that one matrix of that shape takes under each cut}
    rest_ms    ms of a call that no prunable matrix takes
    plain_ms   ms of a call of the model as it was given, by torch
    shapes     {parameter name: shape} of every prunable matrix
    example    what the model was called with
    precision  of the products in the compiled encoder
    threads    that the calls ran on
    start      position in `cuts` of the cut that all matrices have in the model to which the others were compared;
               in each of these the matrices of one shape have another cut
    clock      the function that was read, in seconds
    noise      {shape: ms below which the time of one matrix cannot be told from 0: twice its standard error}
    """

    cuts: tuple[Cut, ...]
    ms: Mapping[Shape, tuple[float, ...]]
    rest_ms: float
    plain_ms: float
    shapes: Mapping[str, Shape]
    example: Example
    precision: str
    threads: int
    start: int = 0
    clock: Clock = time.perf_counter
    noise: Mapping[Shape, float] = field(default_factory=dict)

    def of(self, name: str) -> tuple[float, ...]:
        """The times of one matrix under each cut."""
        return self.ms[self.shapes[name]]

    def total_ms(self, choice: Mapping[str, int]) -> float:
        """A call of the model, predicted: `choice` is {parameter name: which of the cuts}."""
        return self.rest_ms + sum(self.of(name)[cut] for name, cut in choice.items())

    def scaled(self, factor: float) -> LayerCosts:
        """The same costs on a machine that takes `factor` times as long for everything."""
        ms = {shape: tuple(factor * one for one in times) for shape, times in self.ms.items()}
        noise = {shape: factor * one for shape, one in self.noise.items()}
        return replace(self, ms=ms, rest_ms=factor * self.rest_ms, plain_ms=factor * self.plain_ms, noise=noise)

    @property
    def least_ms(self) -> float:
        """A call with the quickest cut for every matrix."""
        return self.rest_ms + sum(min(self.of(name)) for name in self.shapes)

    @property
    def dense_ms(self) -> float:
        """A call with every matrix as dense as the cuts allow."""
        densest = min(
            range(len(self.cuts)), key=lambda cut: (self.cuts[cut].rate, self.cuts[cut].structure is not None)
        )
        return self.total_ms(dict.fromkeys(self.shapes, densest))

    def time_call(self, model: nn.Module, *, repeats: int = 15, threads: int | None = None) -> Timing:
        """Time a call of `model`, in evaluation mode, on the example that the costs were measured with."""
        with evaluating(model), torch.inference_mode():
            return measure(
                partial(run, model, self.example), name="call", repeats=repeats, min_time_ms=0.0, clock=self.clock,
                threads=self.threads if threads is None else threads,
            )  # fmt: skip

    def _table(self) -> list[tuple[str, ...]]:
        count = {shape: list(self.shapes.values()).count(shape) for shape in self.ms}
        head = [f"{count[shape]} of {shape[0]} x {shape[1]}" for shape in self.ms]
        rows = [(str(cut), *(self._said(shape, row) for shape in self.ms)) for row, cut in enumerate(self.cuts)]
        return [("ms of one matrix", *head), *rows]

    def _said(self, shape: Shape, row: int) -> str:
        ms, least = self.ms[shape][row], self.noise.get(shape, 0.0)
        return f"< {least:.2g}" if ms < least else f"{ms:.3g}"

    def _caption(self) -> str:
        return (
            f"whole calls, {_said(self.example)}, {self.precision}, {self.threads} thread(s); everything else takes "
            f"{self.rest_ms:.3g} ms, all together {self.least_ms:.3g} to {self.dense_ms:.3g} ms; the model as it is, "
            f"by torch, {self.plain_ms:.3g} ms"
        )


def layer_costs(
    model: nn.Module, cuts: Sequence[Cut] | None = None, *, example: Example | None = None, batch: int = 1,
    tokens: int | None = None, precision: str = "float32", repeats: int = 15, threads: int | None = None,
    clock: Clock = time.perf_counter, **which: bool,
) -> LayerCosts:  # fmt: skip
    """Measure what a matrix of each shape costs under each of `cuts`, inside whole calls of `model`.

    cuts               None: the structures and rates that `budget` tries by default, and dense
    example            what the model is called with, a tensor or {argument: tensor}; None: random tokens, `batch`
                       sequences of `tokens` each, 128 or as many as the model takes
    repeats, threads   as in `compare`; the least is 3 rounds
    clock              returns seconds; `time.thread_time` with threads=1 leaves out the time that other programs took
    precision, which   as in `sparsify`

    The model stays as it is. Takes about half a second a cut and shape for an encoder of 10 million weights. Raises
    TypeError and ValueError for arguments that do not fit, as `prunable` does for a model, and where no cut prunes.
    """
    linears, given = linears_of(model, **which), _checked(candidates() if cuts is None else cuts)
    shapes: dict[str, Shape] = {name: (m.out_features, m.in_features) for name, m in linears.items()}
    called = checked_example(model, example, batch, tokens)
    whole_number(repeats, "repeats", at_least=3, example=15)
    if precision == "auto":
        precision = fastest_precision() if encoders_of(model) else "float32"
    timed = partial(in_turns, repeats=repeats, threads=threads, clock=clock)
    pruning = [cut for cut in given if cut.structure is not None]
    start = pruning[len(pruning) // 2]
    ranking = Ranking(linears)
    build = partial(_trial, model, ranking, precision=precision, which=which)
    base = build(dict.fromkeys(linears, start))
    whole = timed({"start": partial(run, base, called), "plain": partial(run, shared_copy(model), called)})
    start_ms, each = whole["start"].q1, dict[Shape, np.ndarray]()
    slack, noise = dict[Shape, float](), dict[Shape, float]()
    for shape in dict.fromkeys(shapes.values()):
        names = [name for name, other in shapes.items() if other == shape]
        totals, errors = {start: start_ms}, list[float]()
        others = [cut for cut in given if cut != start]
        for some in (others[first : first + TOGETHER] for first in range(0, len(others), TOGETHER)):
            calls: dict[str, Call] = {"start": partial(run, base, called)}
            for cut in some:
                if cut.structure is None:
                    changed = build(dict.fromkeys(linears, start) | dict.fromkeys(names, cut))
                else:
                    changed = _changed(base, names, ranking, cut, precision)
                calls[str(cut)] = partial(run, changed, called)
            found = timed(calls)
            totals |= {cut: start_ms * found[str(cut)].q1 / found["start"].q1 for cut in some}
            errors += [start_ms * standard_error(found[str(cut)], found["start"]) for cut in some]
        densities = [float(ranking.mask(names[0], cut).float().mean()) for cut in given]
        each[shape] = rising(given, densities, np.array([totals[cut] for cut in given]) - start_ms)
        slack[shape] = -at_no_group(densities, each[shape], given)
        noise[shape] = 2 * float(np.median(errors or [0.0])) / len(names)
    share = min(1.0, MOST * start_ms / max(sum(slack.values()), 1e-9))
    count = Counter(shapes.values())
    ms = {
        shape: tuple(float(max(one + share * slack[shape], 0.0)) / count[shape] for one in times)
        for shape, times in each.items()
    }
    used, at, rest = threads or torch.get_num_threads(), given.index(start), start_ms - share * sum(slack.values())
    return LayerCosts(given, ms, rest, whole["plain"].q1, shapes, called, precision, used, at, clock, noise)


def in_turns(calls: dict[str, Call], repeats: int, threads: int | None, clock: Clock) -> Mapping[str, Timing]:
    """Time whole calls against each other."""
    with torch.inference_mode():
        return compare(calls, repeats=repeats, warmup=2, min_time_ms=0.0, threads=threads, clock=clock).timings


def run(model: Any, example: Example) -> None:
    """One call of a model."""
    model(example) if isinstance(example, Tensor) else model(**example)


def _trial(model: Any, ranking: Ranking, cuts: Mapping[str, Cut], precision: str, which: Mapping[str, bool]) -> Any:
    masks = {name: ranking.mask(name, cut) for name, cut in cuts.items()}
    return sparse_trial(model, masks, cuts, precision, **which)


def _changed(base: Any, names: Sequence[str], ranking: Ranking, cut: Cut, precision: str) -> Any:
    """A copy of a sparse model in which some matrices are cut in another way."""
    changed = shared_copy(base)
    for name in names:
        place, weight = name.removesuffix(".weight"), ranking.weights[name]
        before = changed.get_submodule(place)
        assert isinstance(before, BlockSparseLinear)
        assert cut.structure is not None
        layer = BlockSparseLinear.from_packed(pack(weight * ranking.mask(name, cut), cut.structure))
        layer.register_parameter("bias", before.bias)
        layer.activation = before.activation
        round_values_(layer, precision)
        put_(changed, before, layer.eval())
    return changed


def checked_example(model: nn.Module, example: Any, batch: int, tokens: int | None) -> Example:
    """What a model is timed with; raises TypeError or ValueError where it is nothing that could be."""
    if example is None:
        size = getattr(getattr(model, "config", None), "vocab_size", None)
        if not isinstance(size, int):
            raise ValueError(
                f"example is needed for a {type(model).__name__}, which has no vocabulary: a tensor or "
                "{argument: tensor} would do"
            )
        most = most_tokens(model) or sys.maxsize
        length = min(128, most) if tokens is None else positive_int(tokens, "tokens")
        if length > most:
            raise ValueError(f"tokens must be at most {most}, what the model takes; got {tokens}")
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(0, size, (positive_int(batch, "batch"), length), generator=generator)
        padding = getattr(model.config, "pad_token_id", None)  # type: ignore[union-attr]
        return {"input_ids": torch.where(drawn == padding, (padding or 0) + 1, drawn) if padding is not None else drawn}
    if isinstance(example, Tensor):
        return example
    if not isinstance(example, Mapping) or not all(isinstance(value, Tensor) for value in example.values()):
        raise TypeError(f"example must be a tensor or {{argument: tensor}}; got {type(example).__name__}")
    return {name: value for name, value in example.items() if name not in ("label", "labels")}


def _said(example: Example) -> str:
    shape = example.shape if isinstance(example, Tensor) else next(iter(example.values())).shape
    return "input " + " x ".join(map(str, shape))


def _checked(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    for cut in cuts:
        if not isinstance(cut, Cut):
            raise TypeError(f"cuts must be Cut(structure, rate); got {type(cut).__name__}")
    given = tuple(dict.fromkeys(cuts))
    if not any(cut.structure is not None for cut in given):
        raise ValueError("cuts must hold one that prunes, such as Cut(BlockStructure.block_column(16), 4.0)")
    return given
