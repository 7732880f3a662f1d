"""A model as ONNX, written by torch."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..data.models import quiet
from .engine import PIP, UnavailableError, imported, in_a_line
from .workload import LastHidden

AXES = {0: "batch", 1: "tokens"}


def export(model: LastHidden, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Write the model for any batch and any tokens, by torch's exporter of traces, or where that is gone its other.

    Raises UnavailableError where neither works.
    """
    imported("onnx")
    names = [*inputs, "hidden"]
    attempts: list[dict[str, Any]] = [
        {"dynamo": False, "dynamic_axes": dict.fromkeys(names, AXES)},
        {"dynamo": True, "external_data": False, "dynamic_shapes": tuple(AXES for _ in inputs)},
    ]
    reasons, inside = list[str](), cast(Any, model.encoder)
    with quiet(), contextlib.ExitStack() as after, warnings.catch_warnings(), torch.no_grad():
        # Attention as plain products while the graph is written: engines know that pattern best.
        after.callback(inside.set_attn_implementation, inside.config._attn_implementation)
        inside.set_attn_implementation("eager")
        warnings.simplefilter("ignore")
        for options in attempts:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    torch.onnx.export(
                        model, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=["hidden"],
                        **options,
                    )  # fmt: skip
                return
            except Exception as error:  # the exporters raise their own kinds, torch's and Python's
                path.unlink(missing_ok=True)
                reasons.append(in_a_line(error))
    install = "" if find_spec("onnxscript") else PIP
    raise UnavailableError(f"torch cannot export the model to ONNX: {'; '.join(reasons)}", install)
