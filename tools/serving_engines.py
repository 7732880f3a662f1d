"""What `tools.serving` serves: a classifier, dense in PyTorch or OpenVINO, compiled by this library, or also cut."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

STRUCTURE, RATE = "block_column:4", 5.0
DENSE, OPENVINO = "dense, PyTorch", "dense, OpenVINO"
WHOLE, CUT = "compiled, nothing cut", f"compiled, {STRUCTURE}, rate {RATE:g}"
#: Name -> (what is served, precision); the first is what the others are compared with.
VARIANTS: Mapping[str, tuple[str, str]] = {
    f"{what}, {precision}": (what, precision)
    for what in (DENSE, OPENVINO, WHOLE, CUT)
    for precision in ("float32", "bfloat16")
}


class Output(NamedTuple):
    """What a classifier of transformers returns, as far as the service reads it."""

    logits: Tensor


class Logits(nn.Module):
    """Token ids and mask, each (batch, tokens) -> logits (batch, classes)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the model."""
        logits: Tensor = self.encoder(input_ids=ids, attention_mask=mask).logits
        return logits


class InOpenVINO:
    """A classifier that OpenVINO runs, called as the one of transformers; any number of texts of any length."""

    def __init__(self, model: Any, precision: str, threads: int) -> None:
        from blockprune_lib.bench import export, with_openvino
        from blockprune_lib.bench.engine import imported

        ids = torch.ones(2, 8, dtype=torch.int64)
        inputs = {"ids": ids, "mask": torch.ones_like(ids)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export.export(cast(Any, Logits(model)), inputs, path)
            core = imported("openvino").Core()
            settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False,
                        "INFERENCE_PRECISION_HINT": with_openvino.HINTS[precision]}  # fmt: skip
            engine = core.compile_model(core.read_model(path), "CPU", settings)
        self.config, self.request = model.config, engine.create_infer_request()

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **_: Tensor) -> Output:
        """Infer."""
        found = self.request.infer({"ids": input_ids.numpy(), "mask": attention_mask.numpy()})
        return Output(torch.from_numpy(np.array(next(iter(found.values())))))


def model_of(name: str, what: str, precision: str, threads: int = 1) -> Any:
    """A classifier with the encoder `name`, dense or compiled."""
    import transformers

    from blockprune_lib import BlockStructure, models, sparsify
    from blockprune_lib.bench.workload import FRESH, pruned

    if name in FRESH:
        config, differs = FRESH[name]
        torch.manual_seed(0)
        settings = getattr(transformers, config)(**differs)
        model: Any = transformers.AutoModelForSequenceClassification.from_config(settings).eval()
    else:
        model = models.load(name).model.eval()
    if what == DENSE:
        return model.to(getattr(torch, precision))
    if what == OPENVINO:
        return InOpenVINO(model, precision, threads)
    structure = BlockStructure.parse(STRUCTURE)
    if what == CUT:
        pruned(model, structure, RATE)
    return sparsify(model, structure, precision=precision, keep_dense_above=1.0)
