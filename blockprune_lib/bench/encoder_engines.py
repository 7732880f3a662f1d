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
from torch import Tensor, nn

from ..nn.convert import sparsify
from ..pruning.structure import BlockStructure
from . import runtimes
from .runtimes import Engine, UnavailableError
from .workload import LastHidden

#: Largest error that passes: a dozen layers of roundings, each of which the layer normalisations rescale.
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Encoder:
    """A masked dense `model`, the ids it is run on, threads, and the file that `exported` writes on first use."""

    model: LastHidden
    structure: BlockStructure
    ids: Tensor
    threads: int
    folder: Path

    def shape(self) -> tuple[int, int, int]:
        """(batch, tokens, hidden)."""
        config: Any = self.model.encoder.config
        return (*self.ids.shape, int(config.hidden_size))

    def exported(self) -> str:
        """The path of the model as ONNX, written by torch when it is asked for first."""
        path = self.folder / "model.onnx"
        if not path.exists():
            export(self.model, self.ids, path)
        return str(path)


@contextlib.contextmanager
def encoder(model: nn.Module, structure: BlockStructure, ids: Tensor, threads: int) -> Iterator[Encoder]:
    """What the engines are made from; the exported file lives as long as the block."""
    with TemporaryDirectory(prefix="blockprune-", ignore_cleanup_errors=True) as folder:
        yield Encoder(LastHidden(model).eval(), structure, ids, threads, Path(folder))


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
                reasons.append(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:100]}")
    raise UnavailableError(f"torch cannot export the model to ONNX: {'; '.join(reasons)}", _exporter_install())


def torch_eager(given: Encoder) -> Engine:
    """The masked dense model as it is."""
    return Engine.of_torch("torch", "torch dense f32", partial(given.model, given.ids))


def torch_bf16(given: Encoder) -> Engine:
    """The masked dense model with its weights and activations in bfloat16."""
    half = copy.deepcopy(given.model).to(torch.bfloat16)
    return Engine.of_torch("torch-bf16", "torch dense bf16", partial(half, given.ids), "bfloat16")


def torch_compile(given: Encoder) -> Engine:
    """The masked dense model through torch.compile."""
    return runtimes.torch_compile(given.model, given.ids)


def onnxruntime(given: Encoder) -> Engine:
    """The masked dense model, exported, in ONNX Runtime."""
    return runtimes.onnxruntime(given.exported, given.ids.numpy(), given.shape(), given.threads)


def openvino(given: Encoder, precision: str = "f32") -> Engine:
    """The masked dense model, exported, in OpenVINO."""
    return runtimes.openvino(given.exported, given.ids.numpy(), precision, given.threads)


def blockprune(given: Encoder) -> Engine:
    """The model after `sparsify`."""
    sparse = copy.deepcopy(given.model)
    sparsify(sparse.encoder, given.structure, keep_dense_above=1.0)
    return Engine.of_torch("blockprune", "blockprune", partial(sparse, given.ids))


#: Key -> what makes the engine, in the order of the table; the first is the baseline and the last is ours.
ENGINES: Mapping[str, Callable[[Encoder], Engine]] = {
    "torch": torch_eager,
    "torch-bf16": torch_bf16,
    "torch-compile": torch_compile,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "openvino-bf16": partial(openvino, precision="bf16"),
    "blockprune": blockprune,
}


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
