"""Every off-the-shelf way that we know to run a whole pruned encoder on a CPU, as functions that can be timed.

The rivals run the dense model with its zeros; ours is the same model after `sparsify`. All are given token ids of full
length without a padding mask, so that none spends time on one, and answer with the last hidden state. ONNX Runtime and
OpenVINO read one ONNX file that torch wrote. Left out: engines that need another checkpoint format, and integers.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ..nn.convert import sparsify
from ..pruning.structure import BlockStructure
from . import runtimes
from .runtimes import Engine, UnavailableError
from .workload import LastHidden, Workload

#: Largest error that passes: a dozen layers of roundings, each of which the layer normalisations rescale.
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Encoder:
    """A pruned `model`, dense with zeros, and `given` ids; `graph` writes a file to `folder` on first use."""

    model: LastHidden
    structure: BlockStructure
    given: Tensor
    threads: int
    folder: Path

    def shape(self) -> tuple[int, ...]:
        """(batch, tokens, hidden)."""
        config: Any = self.model.encoder.config
        return (*self.given.shape, int(config.hidden_size))

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


@contextlib.contextmanager
def encoder(work: Workload) -> Iterator[Encoder]:
    """What the engines are made from; the exported file lives as long as the block."""
    with TemporaryDirectory(prefix="blockprune-", ignore_cleanup_errors=True) as folder:
        yield Encoder(LastHidden(work.model).eval(), work.structure, work.ids, work.what.threads, Path(folder))


def export(model: LastHidden, ids: Tensor, path: Path) -> None:
    """Write the model for inputs of exactly this shape, by torch's exporter of traces, or where that is gone its other.

    Raises UnavailableError where neither works.
    """
    runtimes.imported("onnx")
    attempts: list[dict[str, Any]] = [{"dynamo": False}, {"dynamo": True, "external_data": False}]
    reasons = []
    with _eager_attention(model.encoder), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for options in attempts:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    torch.onnx.export(model, (ids,), str(path), input_names=["ids"], output_names=["hidden"], **options)
                return
            except Exception as error:  # the exporters raise their own kinds, torch's and Python's
                path.unlink(missing_ok=True)
                reasons.append(runtimes.in_a_line(error))
    raise UnavailableError(f"torch cannot export the model to ONNX: {'; '.join(reasons)}", _exporter_install())


#: Key -> what makes the engine, in the order of the table; the first is the baseline and the last is ours.
ENGINES: Mapping[str, Callable[[Encoder], Engine]] = {**runtimes.DENSE, "blockprune": runtimes.blockprune}


@contextlib.contextmanager
def _eager_attention(encoder: Any) -> Iterator[None]:
    """Attention as plain products while a graph is written: engines know that pattern best."""
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)


def _exporter_install() -> str:
    try:
        runtimes.imported("onnxscript")
    except UnavailableError as missing:
        return missing.install
    return ""
