"""Rivals that are OpenVINO on the CPU: float32, bfloat16, and int8 by two quantisers.

OpenVINO's converter, which reports its use to its makers, is never called, and NNCF is told to report nothing.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .engine import Calls, UnavailableError, Work, imported

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def compiled(work: Work, precision: str) -> Calls:
    """OpenVINO in float32 or bfloat16; inputs and answers are float32 either way."""
    core = imported("openvino").Core()
    return run_model(work, core, core.read_model(work.graph()), HINTS[precision])


def by_nncf(work: Work, precision: str) -> Calls:
    """int8 as OpenVINO's own quantiser makes it of a transformer, its ranges found on the very input that is timed.

    What is not int8 runs in float32: bfloat16 made it slower where both were tried.
    """
    runtime = imported("openvino")
    core, source = runtime.Core(), Path(str(work.graph()))
    target = source.with_suffix(".nncf.xml")
    if not target.exists():
        sample = {name: value.numpy() for name, value in work.inputs.items()}
        runtime.save_model(quantized(core.read_model(source), [sample]), target, compress_to_fp16=False)
    return run_model(work, core, core.read_model(target), "f32")


def quantized(model: Any, samples: Sequence[Mapping[str, Any]]) -> Any:
    """A transformer in int8 by NNCF, its ranges found on `samples`. Raises UnavailableError where NNCF is missing."""
    os.environ.setdefault("NNCF_CI", "1")  # no reports to its makers
    nncf = imported("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return nncf.quantize(
            model, nncf.Dataset(list(samples)), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples)
        )


def by_onnxruntime(work: Work, precision: str) -> Calls:
    """int8 as ONNX Runtime's static quantiser makes it, ranges as above; the rest in what OpenVINO picks."""
    core, source = imported("openvino").Core(), Path(str(work.graph()))
    target = source.with_suffix(".qdq.onnx")
    if not target.exists():
        _quantise(source, target, {name: value.numpy() for name, value in work.inputs.items()})
    return run_model(work, core, core.read_model(target), None)


def _quantise(source: Path, target: Path, sample: dict[str, Any]) -> None:
    """Write the graph with int8 on both sides of every product with weights, which OpenVINO runs as one."""
    quantization = imported("onnxruntime.quantization")

    class Sample(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        left = [sample]  # noqa: RUF012

        def get_next(self) -> dict[str, Any] | None:
            return self.left.pop() if self.left else None

    int8, logger = quantization.QuantType.QInt8, logging.getLogger()
    before, logger.level = logger.level, logging.ERROR
    try:
        quantization.quantize_static(
            str(source), str(target), Sample(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=int8, weight_type=int8, op_types_to_quantize=["MatMul"],
            extra_options={"ActivationSymmetric": True, "MatMulConstBOnly": True},
        )  # fmt: skip
    finally:
        logger.setLevel(before)


def request_to(core: Any, model: Any, precision: str | None, threads: int) -> Any:
    """A request to a model, compiled for few threads; `precision`: f32, bf16, or OpenVINO's choice.

    Raises UnavailableError where the processor has no bfloat16 and the plugin would quietly run float32. Pinning is
    off: a pinned thread would hand its one core on to every thread that another engine starts later.
    """
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    engine = core.compile_model(model, "CPU", settings)
    wanted = None if precision is None else getattr(imported("openvino").Type, precision)
    if wanted is not None and engine.get_property("INFERENCE_PRECISION_HINT") != wanted:
        raise UnavailableError(f"OpenVINO has no {precision} on this processor")
    return engine.create_infer_request()


def run_model(work: Work, core: Any, model: Any, precision: str | None) -> Calls:
    """A request to a model, compiled for inputs of exactly these shapes; `precision` as in `request_to`."""
    runtime = imported("openvino")
    model.reshape({name: list(value.shape) for name, value in work.inputs.items()})
    request = request_to(core, model, precision, work.threads)
    for name, value in work.inputs.items():
        request.set_tensor(name, runtime.Tensor(value.numpy(), shared_memory=True))

    def result() -> Any:
        request.infer()
        return request.get_output_tensor().data

    return Calls(request.infer, work.answer_of(result))
