"""The benchmark of a whole model: an encoder pruned to a rate, run by every off-the-shelf way that we know.

The rivals run the dense model with its zeros; ours is the same model after `sparsify`, once for each structure and
precision that is asked for, all beside one set of rivals: a dense engine takes as long whatever is zero. All answer
with the last hidden state. Where the sequences have one length none is given a mask; where they are mixed all are, and
rivals are timed sorted by length too. ONNX Runtime and OpenVINO read one ONNX file that torch wrote.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.precision import check_precision
from ..nn.convert import sparsify
from ..nn.engine import encoders_of
from ..nn.model_files import precision_of
from ..pruning.structure import BlockStructure
from .case import Case, What
from .engine import Calls, Engine, Work, engine_of
from .export import export
from .footprint import footprints
from .measuring import Progress, measure_all, measured
from .model_settings import ModelSettings
from .records import Record
from .rivals import SHORT, Rival, rivals_of
from .sequences import TOGETHER, Sequences, of_lengths, of_task
from .settings import ModelCase
from .workload import (
    FRESH,
    LastHidden,
    check_name,
    check_tokens,
    density_of,
    fresh,
    kept_of,
    operations_of,
    positions_of,
    pruned,
)  # fmt: skip

#: Largest error that passes: a dozen layers of roundings, each of which the layer normalisations rescale. What int8
#: costs depends on the weights, from 1 % to a quarter; the limit stops nonsense, and the table tells the rest.
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-1, "int8": 5e-1}


@dataclass(frozen=True)
class Encoding(Work):
    """A pruned `model`, dense with zeros, run on `sequences`; graphs are written to `folder` on first use."""

    model: LastHidden
    sequences: Sequences
    threads: int
    folder: Path

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Ids, and the mask where there is padding."""
        given = {"ids": self.sequences.ids, "mask": self.sequences.mask}
        return given if self.sequences.mixed else {"ids": given["ids"]}

    @property
    def sizes(self) -> dict[str, int]:
        """What the graph leaves open."""
        return dict(zip(("batch", "tokens"), self.sequences.ids.shape, strict=True))

    def given(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The same whatever the type of the weights."""
        return tuple(self.inputs.values())

    def module(self, dtype: torch.dtype) -> LastHidden:
        """The model with weights of another type."""
        return self.model if dtype == torch.float32 else self._in_bfloat16

    @cached_property
    def _in_bfloat16(self) -> LastHidden:
        return copy.deepcopy(self.model).to(torch.bfloat16)

    def read(self, result: np.ndarray) -> np.ndarray:
        """The hidden states of real tokens, (tokens of all sequences, hidden)."""
        return result[self.sequences.mask.numpy() == 1].astype(np.float64)

    def graph(self) -> str:
        """The path of the model as ONNX, written by torch when it is asked for first."""
        path = self.folder / f"{'-'.join(self.inputs)}.onnx"
        if not path.exists():
            export(self.model, self.inputs, path)
        return str(path)


def in_sorted_batches(rival: Rival, work: Encoding) -> Engine:
    """A rival that runs the sequences sorted by length, a few at a time, each batch padded for itself."""
    numbers, parts = zip(*work.sequences.sorted_apart(), strict=True)
    engines = [engine_of(rival, replace(work, sequences=part)) for part in parts]
    order = [number for some in numbers for number in some]

    def answer() -> np.ndarray:
        rows = np.concatenate([engine.answer() for engine in engines])
        ends = np.cumsum([length for part in parts for length in part.lengths])
        return np.concatenate([np.split(rows, ends[:-1])[order.index(number)] for number in range(len(order))])

    def run() -> None:
        for engine in engines:
            engine.run()

    return replace(engines[0], key=f"{rival.key}-sorted", name=f"{rival.name}, sorted", run=run, answer=answer)


class PrunedModels:
    """An encoder pruned to a rate by each structure: dense with zeros, and sparse in each precision."""

    def __init__(self, asked: ModelSettings, rate: float) -> None:
        whole = fresh(asked.model, asked.seed)
        self.dense: dict[str, LastHidden] = {}
        self.kept: dict[str, int] = {}
        self.sparse: dict[tuple[str, str], nn.Module] = {}
        for text in asked.structures:
            structure, model = BlockStructure.parse(text), copy.deepcopy(whole)
            self.kept[text] = kept_of(pruned(model, structure, rate))
            self.dense[text] = LastHidden(model).eval()
            for precision in asked.precisions:
                sparse = sparsify(copy.deepcopy(model), structure, precision=precision, keep_dense_above=1.0)
                self.sparse[text, precision] = LastHidden(sparse).eval()

    def ours(self, text: str, precision: str, sequences: Sequences) -> Engine:
        """This library's engine, with what the dense model of the same weights answers beside it."""
        dense, sparse = self.dense[text], self.sparse[text, precision]
        work = Encoding(dense, sequences, 0, Path())
        given = work.given(torch.float32)
        sparse(*given)
        how = [getattr(encoder.forward, "last", "no compiled call") for encoder, _ in encoders_of(sparse)]
        slow = "".join(f" (layer by layer: {why})" for why in how if why != "compiled")
        calls = Calls(lambda: sparse(*given), work.answer_of(lambda: sparse(*given)))
        return Engine(
            ours_key(text, precision), f"blockprune {text} {SHORT[precision]}{slow}", *calls, precision_of(sparse),
            structure=text,
            operations=operations_of(dense.encoder, self.kept[text], sequences.lengths),
            expected=work.answer_of(lambda: dense(*given)),
        )  # fmt: skip


def ours_key(text: str, precision: str) -> str:
    """The key of this library's engine in a record of a model."""
    return f"blockprune {text} {SHORT[precision]}"


def bench_model(*, progress: Progress = None, **settings: Any) -> Record:
    """Time a whole pruned encoder in every engine, for each combination of the settings; the record prints itself.

    model       "bert-base", "roberta-base", "distilbert-base" (drawn anew), "minilm" (real weights), or a folder
    precisions  of this library: "float32", "bfloat16", "auto"; every structure runs in each
    batches, tokens   each call runs batch x tokens token ids
    lengths     instead of tokens: (7, 12, 31), or a task such as "sst2" from whose sentences `batches` are drawn
    memory      measure the bytes of the dense and of the sparse models too, each in a process of its own

    The other settings are those of `bench_matrices`, with the rivals that run a model as peers.

    Every answer is compared with torch's float32 before it is timed. Two copies of the model for each structure, and
    one for each rival, are alive at once: 4 GB for bert-base and one structure. Raises as `bench_matrices` does, and
    ValueError where the model has too few positions for `tokens`, or this machine no such precision.
    """
    asked = ModelSettings(**settings)
    rivals = asked.chosen(rivals_of("model"))
    check_name(asked.model)
    for precision in asked.precisions:
        check_precision(precision)
    models_of = lru_cache(maxsize=1)(partial(PrunedModels, asked))

    with TemporaryDirectory(prefix="blockprune-", ignore_cleanup_errors=True) as folder:

        def measure(case: ModelCase) -> Case:
            models, first = models_of(case.rate), case.structures[0]
            at = Path(folder) / f"{case.rate}"
            at.mkdir(exist_ok=True)
            dense = models.dense[first]
            sequences = sequences_of(dense.encoder, asked, case)
            work = Encoding(dense, sequences, case.threads, at)
            makers: dict[str, Callable[[], Engine]] = {}
            for rival in rivals:
                makers[rival.key] = partial(engine_of, rival, work)
                if sequences.mixed and rival.sorts and case.batch > TOGETHER:
                    makers[f"{rival.key}-sorted"] = partial(in_sorted_batches, rival, work)
            ours = {
                ours_key(text, precision): partial(models.ours, text, precision, sequences)
                for text in case.structures for precision in asked.precisions
            }  # fmt: skip
            kept, lengths = models.kept[first], sequences.lengths
            what = What(
                model=case.model, structure=", ".join(case.structures), rate=case.rate, batch=case.batch,
                tokens=max(lengths), threads=case.threads, kept=kept, density=density_of(dense.encoder, kept),
                lengths=lengths if sequences.mixed else None,
                text=asked.lengths if isinstance(asked.lengths, str) else None,
            )  # fmt: skip
            operations = operations_of(dense.encoder, kept, lengths)
            found = measured(what, operations, makers, ours, asked, TOLERANCES)
            return found.replace(memory=footprints(asked, case)) if asked.memory else found

        return measure_all("model", asked, measure, progress)


def sequences_of(model: Any, asked: ModelSettings, case: ModelCase) -> Sequences:
    """What a case is run on. Raises ValueError where the model has too few positions."""
    if isinstance(asked.lengths, str):
        name = "minilm" if asked.model in FRESH else asked.model
        longest = min(case.tokens, positions_of(model))
        return of_task(model, name, asked.lengths, case.batch, longest, asked.seed)
    lengths = asked.lengths or (case.tokens,) * case.batch
    check_tokens(model, lengths)
    return of_lengths(model, lengths, asked.seed)
