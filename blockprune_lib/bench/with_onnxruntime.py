"""Rivals that are ONNX Runtime on the CPU, in float32 and in int8."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from ..machine.cpu import host_features
from .engine import Calls, Work, imported


def session(work: Work, precision: str) -> Calls:
    """ONNX Runtime with the graph as it is."""
    return run_graph(work, work.graph())


def dynamic_int8(work: Work, precision: str) -> Calls:
    """Products in int8 by `quantize_dynamic`: weights rounded once for each output, activations at each call."""
    return run_graph(work, str(in_int8(Path(str(work.graph())))))


def in_int8(path: Path) -> Path:
    """The graph in `path` with its products in int8, made when it is first asked for, beside it."""
    target = path.with_suffix(".int8.onnx")
    if not target.exists():
        quantization, logger = imported("onnxruntime.quantization"), logging.getLogger()
        before, logger.level = logger.level, logging.ERROR  # it recommends preparations that gain nothing here
        try:
            quantization.quantize_dynamic(
                str(path), str(target), weight_type=quantization.QuantType.QInt8, per_channel=True,
                reduce_range=saturates(),
            )  # fmt: skip
        finally:
            logger.setLevel(before)
    return target


def saturates() -> bool:
    """Whether sums of two int8 products saturate at 16 bits: x86 without VNNI, where weights get 7 bits instead."""
    features = host_features()
    x86 = any(name.startswith("sse") for name in features)
    return x86 and not any(features.get(name, False) for name in ("avx512vnni", "avxvnni"))


def run_graph(work: Work, graph: bytes | str) -> Calls:
    """A session of a graph.

    Its threads stop spinning as soon as a run ends: they must not take cores from the engine whose turn is next.
    """
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = work.threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for name, size in work.sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    engine = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {name: value.numpy() for name, value in work.inputs.items()}
    [name] = (result.name for result in engine.get_outputs())
    result = np.zeros_like(engine.run(None, inputs)[0])
    # The values must live as long as the binding that points at their memory.
    values = {key: runtime.OrtValue.ortvalue_from_numpy(value) for key, value in (inputs | {name: result}).items()}
    binding = engine.io_binding()
    for key in inputs:
        binding.bind_ortvalue_input(key, values[key])
    binding.bind_ortvalue_output(name, values[name])

    def run(kept: Any = values) -> Any:
        engine.run_with_iobinding(binding)
        return values[name].numpy()

    return Calls(run, work.answer_of(run))
