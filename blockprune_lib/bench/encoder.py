"""The benchmark of a whole model: an encoder pruned to a rate, run by every off-the-shelf way that we know.

The rivals run the dense model with its zeros; ours is the same model after `sparsify`. All are given token ids of full
length without a padding mask, so that none spends time on one, and answer with the last hidden state. ONNX Runtime and
OpenVINO read one ONNX file that torch wrote.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor

from ..nn.convert import sparsify
from . import runtimes
from .case import Case
from .footprint import footprints
from .measuring import Progress, measure_all, measured
from .records import Record
from .runtimes import Engine, UnavailableError, Work
from .settings import ModelCase, ModelSettings
from .workload import LastHidden, Workload, check_name

#: Largest error that passes: a dozen layers of roundings, each of which the layer normalisations rescale.
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Encoder(Work):
    """A pruned `model`, dense with zeros, and `given` ids; `graph` writes a file to `folder` on first use."""

    model: LastHidden
    folder: Path

    def dense(self, dtype: torch.dtype) -> Callable[[], Tensor]:
        """The model as it is, or with weights and activations of another type."""
        return partial(self.model if dtype == torch.float32 else copy.deepcopy(self.model).to(dtype), self.given)

    def sparse(self) -> Callable[[], Tensor]:
        """The model after `sparsify`."""
        model = copy.deepcopy(self.model)
        sparsify(model.encoder, self.structure, keep_dense_above=1.0)
        return partial(model, self.given)

    def module(self) -> LastHidden:
        """The model."""
        return self.model

    def graph(self) -> str:
        """The path of the model as ONNX, written by torch when it is asked for first."""
        path = self.folder / "model.onnx"
        if not path.exists():
            export(self.model, self.given, path)
        return str(path)


def export(model: LastHidden, ids: Tensor, path: Path) -> None:
    """Write the model for inputs of exactly this shape, by torch's exporter of traces, or where that is gone its other.

    Raises UnavailableError where neither works.
    """
    runtimes.imported("onnx")
    attempts: list[dict[str, Any]] = [{"dynamo": False}, {"dynamo": True, "external_data": False}]
    reasons, inside = list[str](), cast(Any, model.encoder)
    with contextlib.ExitStack() as after, warnings.catch_warnings(), torch.no_grad():
        # Attention as plain products while the graph is written: engines know that pattern best.
        after.callback(inside.set_attn_implementation, inside.config._attn_implementation)
        inside.set_attn_implementation("eager")
        warnings.simplefilter("ignore")
        for options in attempts:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    torch.onnx.export(model, (ids,), str(path), input_names=["ids"], output_names=["hidden"], **options)
                return
            except Exception as error:  # the exporters raise their own kinds, torch's and Python's
                path.unlink(missing_ok=True)
                reasons.append(runtimes.in_a_line(error))
    install = "" if find_spec("onnxscript") else runtimes.PIP
    raise UnavailableError(f"torch cannot export the model to ONNX: {'; '.join(reasons)}", install)


#: Key -> what makes the engine, in the order of the table; the first is the baseline and the last is ours.
ENGINES: Mapping[str, Callable[[Encoder], Engine]] = {**runtimes.DENSE, "blockprune": runtimes.blockprune}


def bench_model(*, progress: Progress = None, **settings: Any) -> Record:
    """Time a whole pruned encoder in every engine, for each combination of the settings; the record prints itself.

    model       "bert-base", "roberta-base", "distilbert-base" (drawn anew), "minilm" (real weights), or a folder
    batches, tokens   each call runs batch x tokens token ids
    memory      measure the bytes of the dense and of the sparse model too, each in a process of its own
    The other settings are those of `bench_matrices`, with the keys of `ENGINES` as peers.

    Every answer is compared with torch's float32 before it is timed. Six copies of the model are alive at once, 4 GB
    for bert-base. Raises as `bench_matrices` does, and ValueError where the model has too few positions for `tokens`.
    """
    asked = ModelSettings(**settings)
    keys = asked.engines(ENGINES)
    check_name(asked.model)

    def measure(case: ModelCase) -> Case:
        work = Workload.of(case, asked)
        with TemporaryDirectory(prefix="blockprune-", ignore_cleanup_errors=True) as folder:
            model = LastHidden(work.model).eval()
            given = Encoder(work.structure, work.ids, case.threads, model, Path(folder))
            makers = {key: partial(ENGINES[key], given) for key in keys}
            found = measured(work.what, work.operations, makers, asked, TOLERANCES)
        return found.replace(memory=footprints(asked.model, case, asked.seed)) if asked.memory else found

    return measure_all("model", asked, measure, progress)
