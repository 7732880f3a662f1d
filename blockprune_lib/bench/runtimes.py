"""The engines that run any pruned product, a matrix or a model: torch, torch.compile, ONNX Runtime, OpenVINO, and ours.

Nothing here needs a network or sends anything: graphs are read from bytes or from a file, and OpenVINO's converter,
which reports its use to its makers, is never called.
"""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ..pruning.structure import BlockStructure

PIP = "pip install 'blockprune-lib[peers]'"


class UnavailableError(Exception):
    """An engine cannot run here; the text says why. `install` is the pip line that would help, or empty."""

    def __init__(self, why: str, install: str = "") -> None:
        super().__init__(why)
        self.install = install


@dataclass(frozen=True)
class Engine:
    """A way to run a product or a model: `run` is what is timed, `answer` runs once and gives its result as float64.

    `threads` is None where the engine takes as many as it is given.
    """

    key: str
    name: str
    run: Callable[[], object]
    answer: Callable[[], np.ndarray]
    precision: str = "float32"
    threads: int | None = None

    @classmethod
    def of_torch(
        cls, key: str, name: str, run: Callable[[], Any], precision: str = "float32", transposed: bool = False
    ) -> Engine:
        """An engine whose `run` returns a tensor; `transposed` where that is Yᵀ."""

        def answer() -> np.ndarray:
            result: torch.Tensor = run().detach().double()
            return (result.T if transposed else result).numpy()

        return cls(key, name, run, answer, precision)


def in_a_line(error: Exception) -> str:
    """What an engine raised, in a line: the type, and the first line of what it says.

    >>> in_a_line(OSError("no such instruction\\nmore"))
    'OSError: no such instruction'
    """
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:160]}"


def imported(module: str) -> Any:
    """The module, or UnavailableError with the pip line where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UnavailableError(f"{module.partition('.')[0]} is not installed", PIP) from None


@dataclass(frozen=True)
class Work(ABC):
    """A product with a masked weight, or a model of such products, and what it is run on: `given` X or token ids."""

    structure: BlockStructure
    given: torch.Tensor
    threads: int

    @abstractmethod
    def dense(self, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
        """A call that multiplies by every zero."""

    @abstractmethod
    def sparse(self) -> Callable[[], torch.Tensor]:
        """The same by the layers of this library."""

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """The dense product as a module, for `torch.compile`."""

    @abstractmethod
    def graph(self) -> bytes | str:
        """The dense product as an ONNX graph, serialised or in a file."""


def torch_dense(work: Work, dtype: torch.dtype = torch.float32) -> Engine:
    """torch with every zero stored."""
    word = str(dtype).removeprefix("torch.")
    key, short = ("torch", "f32") if dtype == torch.float32 else ("torch-bf16", "bf16")
    return Engine.of_torch(key, f"torch dense {short}", work.dense(dtype), word)


def blockprune(work: Work) -> Engine:
    """This library's layers over the groups that were kept."""
    return Engine.of_torch("blockprune", "blockprune", work.sparse())


def onnxruntime(work: Work) -> Engine:
    """ONNX Runtime on the CPU.

    Its threads stop spinning as soon as a run ends: they must not take cores from the engine whose turn is next.
    """
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = work.threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = runtime.InferenceSession(work.graph(), options, providers=["CPUExecutionProvider"])
    result = np.zeros(work.dense(torch.float32)().shape, dtype=np.float32)  # only the shape of that answer counts
    # Both values must live as long as the binding that points at their memory.
    value, written = map(runtime.OrtValue.ortvalue_from_numpy, (work.given.numpy(), result))
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, value)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, written)

    def run(kept: Any = (value, written)) -> object:
        return session.run_with_iobinding(binding)

    return Engine("onnxruntime", "ONNX Runtime f32", run, partial(_after, run, lambda: result))


def openvino(work: Work, precision: str = "f32") -> Engine:
    """OpenVINO on the CPU; `precision` is "f32" or "bf16", inputs and answers are float32 either way.

    Raises UnavailableError where the processor has no bfloat16 and the plugin would quietly run float32. Pinning is
    off: a pinned thread would hand its one core on to every thread that another engine starts later.
    """
    runtime = imported("openvino")
    core = runtime.Core()
    settings = {
        "INFERENCE_NUM_THREADS": work.threads, "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False,
    }  # fmt: skip
    model = core.compile_model(core.read_model(work.graph()), "CPU", settings)
    ran = {"f32": runtime.Type.f32, "bf16": runtime.Type.bf16}[precision]
    if model.get_property("INFERENCE_PRECISION_HINT") != ran:
        raise UnavailableError(f"OpenVINO has no {precision} on this processor")
    request = model.create_infer_request()
    request.set_input_tensor(runtime.Tensor(work.given.numpy(), shared_memory=True))
    key, word = ("openvino", "float32") if precision == "f32" else ("openvino-bf16", "bfloat16")
    answer = partial(_after, request.infer, lambda: request.get_output_tensor().data)
    return Engine(key, f"OpenVINO {precision}", request.infer, answer, word)


def torch_compile(work: Work) -> Engine:
    """torch.compile's version of the module, weights frozen in; UnavailableError where nothing compiles it."""
    module, given = work.module(), work.given
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quick: Any = torch.compile(module, options={"freezing": True})
            quick(given)
    except Exception as error:  # a missing or broken compiler fails anywhere in torch
        raise UnavailableError(f"torch.compile does not work here: {in_a_line(error)}") from None
    return Engine.of_torch("torch-compile", "torch.compile dense", lambda: quick(given))


#: Key -> what makes the engine, in the order of the tables: those that run a dense product. `blockprune` comes last.
DENSE: Mapping[str, Callable[[Any], Engine]] = {
    "torch": torch_dense, "torch-bf16": partial(torch_dense, dtype=torch.bfloat16), "torch-compile": torch_compile,
    "onnxruntime": onnxruntime, "openvino": openvino, "openvino-bf16": partial(openvino, precision="bf16"),
}  # fmt: skip


def _after(run: Callable[[], object], result: Callable[[], np.ndarray]) -> np.ndarray:
    run()
    return result().astype(np.float64)
