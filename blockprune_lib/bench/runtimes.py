"""How the rivals are started: ONNX Runtime, OpenVINO and torch.compile, each on a given number of threads.

Nothing here needs a network or sends anything: graphs are read from bytes or from a file, and OpenVINO's converter,
which reports its use to its makers, is never called. Left out: which graphs they run (`peers`, `engines`).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

PIP = "pip install 'blockprune-lib[peers]'"


class UnavailableError(Exception):
    """An engine cannot run here; the text says why. `install` is the pip line that would help, or empty."""

    def __init__(self, why: str, install: str = "") -> None:
        super().__init__(why)
        self.install = install


def imported(module: str) -> Any:
    """The module, or UnavailableError with the pip line where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UnavailableError(f"{module.partition('.')[0]} is not installed", PIP) from None


def onnx_session(graph: bytes | str, threads: int) -> Any:
    """An ONNX Runtime session of a serialised graph or of a file, on the CPU.

    Its threads stop spinning as soon as a run ends: they must not take cores from the engine whose turn is next.
    """
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def onnx_call(session: Any, given: np.ndarray, shape: tuple[int, ...]) -> tuple[Callable[[], object], np.ndarray]:
    """A call of the session on `given`, and the float32 array of `shape` that each call writes its answer to."""
    runtime = imported("onnxruntime")
    answer = np.zeros(shape, dtype=np.float32)
    value, result = runtime.OrtValue.ortvalue_from_numpy(given), runtime.OrtValue.ortvalue_from_numpy(answer)
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, value)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, result)
    # The default argument keeps the values alive as long as the call is.
    return lambda kept=(value, result, answer): session.run_with_iobinding(binding), answer


def openvino_request(graph: bytes | str, given: np.ndarray, precision: str, threads: int) -> Any:
    """An OpenVINO inference request on the CPU with `given` as its input; `precision` is "f32" or "bf16".

    Raises UnavailableError where the processor has no bfloat16 and the plugin would quietly run float32. Pinning is
    off: a pinned thread would hand its one core on to every thread that another engine starts later.
    """
    openvino = imported("openvino")
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    ran = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}[precision]
    if compiled.get_property("INFERENCE_PRECISION_HINT") != ran:
        raise UnavailableError(f"OpenVINO has no {precision} on this processor")
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(given, shared_memory=True))
    return request


def compiled(module: torch.nn.Module, given: torch.Tensor) -> Callable[[], Any]:
    """A call of torch.compile's version of `module`, weights frozen in; UnavailableError where nothing compiles it."""
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quick: Any = torch.compile(module, options={"freezing": True})
            quick(given)
    except Exception as error:  # a missing or broken compiler fails anywhere in torch
        first = str(error).strip().partition("\n")[0]
        raise UnavailableError(f"torch.compile does not work here: {type(error).__name__}: {first[:120]}") from None
    return lambda: quick(given)
