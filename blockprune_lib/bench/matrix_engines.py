"""Every off-the-shelf way that we know to run one pruned matrix on a CPU, as functions that can be timed.

The product is Y = X Wᵀ of token-major activations X (tokens, inputs) with a masked weight W (outputs, inputs), no bias.
The formats that multiply from the left, W Xᵀ, are given Xᵀ already transposed, which favours them. Preparing (copying,
packing, compiling) is done before and not timed. Left out: engines that are not on PyPI, integers, and GPUs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..nn import block_sparse_linear
from ..pruning import packing
from ..pruning.structure import BlockStructure
from . import runtimes
from .runtimes import UnavailableError

#: Largest error that passes, relative to the largest number of the answer. bfloat16 keeps 8 bits of a number.
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2}


@dataclass(frozen=True)
class Problem:
    """One product: masked `weight` (M, N) float32, `x` (T, N) float32, and how many threads may be used."""

    weight: Tensor
    structure: BlockStructure
    x: Tensor
    threads: int

    def reference(self) -> np.ndarray:
        """X Wᵀ in float64, shape (T, M)."""
        product: np.ndarray = self.x.double().numpy() @ self.weight.double().numpy().T
        return product


@dataclass(frozen=True)
class Engine:
    """Something that computes the product: `run` is what is timed, `answer` runs once and gives (T, M) as float64."""

    key: str
    name: str
    run: Callable[[], object]
    answer: Callable[[], np.ndarray]
    precision: str = "float32"
    threads: int | None = None


def torch_dense(problem: Problem, dtype: torch.dtype = torch.float32) -> Engine:
    """`F.linear` with every zero stored."""
    weight, x = problem.weight.to(dtype), problem.x.to(dtype)
    word = str(dtype).removeprefix("torch.")
    key, short = ("torch", "f32") if dtype == torch.float32 else ("torch-bf16", "bf16")
    return _of_torch(key, f"torch dense {short}", lambda: functional.linear(x, weight), word)


def torch_csr(problem: Problem) -> Engine:
    """`W @ Xᵀ` with W in compressed sparse rows."""
    matrix, right = _quiet(problem.weight.to_sparse_csr), problem.x.T.contiguous()
    return _of_torch("torch-csr", "torch CSR @ X", lambda: matrix @ right, transposed=True)


def torch_bsr(problem: Problem, as_linear: bool = False) -> Engine:
    """`W @ Xᵀ`, or `F.linear(X, W)` as torch's documentation has it, with W in square blocks."""
    height, width = _blocks(problem)
    if height != width or height < 2:
        raise UnavailableError(
            f"torch runs BSR in square blocks of 2 or more; {problem.structure} has {height} x {width}"
        )
    matrix = _quiet(lambda: problem.weight.to_sparse_bsr((height, width)))
    if as_linear:
        return _of_torch("torch-bsr-linear", "torch BSR F.linear", lambda: functional.linear(problem.x, matrix))
    right = problem.x.T.contiguous()
    return _of_torch("torch-bsr", "torch BSR @ X", lambda: matrix @ right, transposed=True)


def torch_compile(problem: Problem) -> Engine:
    """The dense layer through torch.compile."""
    layer = torch.nn.Linear(problem.weight.shape[1], problem.weight.shape[0], bias=False, device="meta")
    layer.weight = torch.nn.Parameter(problem.weight, requires_grad=False)
    return _of_torch("torch-compile", "torch.compile dense", runtimes.compiled(layer.eval(), problem.x))


def scipy_sparse(problem: Problem, form: str) -> Engine:
    """SciPy's `W @ Xᵀ` with W in CSR or BSR, which runs on one thread whatever is asked."""
    sparse = runtimes.imported("scipy.sparse")
    weight, right = problem.weight.numpy(), np.ascontiguousarray(problem.x.numpy().T)
    if form == "csr":
        matrix = sparse.csr_matrix(weight)
    else:
        height, width = _blocks(problem)
        if height * width == 1:
            raise UnavailableError(f"BSR in blocks of 1 x 1, as {problem.structure} has, is CSR")
        matrix = sparse.bsr_matrix(weight, blocksize=(height, width))

    def run() -> Any:
        return matrix @ right

    return Engine(f"scipy-{form}", f"SciPy {form.upper()} @ X", run, lambda: run().T.astype(np.float64), threads=1)


def onnxruntime(problem: Problem) -> Engine:
    """The dense product as an ONNX graph in ONNX Runtime."""
    session = runtimes.onnx_session(_graph(problem), problem.threads)
    shape = (problem.x.shape[0], problem.weight.shape[0])
    run, result = runtimes.onnx_call(session, problem.x.numpy(), shape)
    return Engine("onnxruntime", "ONNX Runtime f32", run, partial(_after, run, lambda: result))


def openvino(problem: Problem, precision: str = "f32") -> Engine:
    """The dense product as the same ONNX graph in OpenVINO; inputs and answers are float32 either way."""
    request = runtimes.openvino_request(_graph(problem), problem.x.numpy(), precision, problem.threads)
    key, word = ("openvino", "float32") if precision == "f32" else ("openvino-bf16", "bfloat16")
    answer = partial(_after, request.infer, lambda: request.get_output_tensor().data)
    return Engine(key, f"OpenVINO {precision}", request.infer, answer, word)


def blockprune(problem: Problem) -> Engine:
    """This library's layer over the groups that were kept."""
    layer = block_sparse_linear.BlockSparseLinear.from_packed(packing.pack(problem.weight, problem.structure))
    return _of_torch("blockprune", "blockprune", lambda: layer(problem.x))


BASELINE, OURS = "torch", "blockprune"
#: Key -> what makes the engine, in the order of the table; the first and the last always run.
ENGINES: Mapping[str, Callable[[Problem], Engine]] = {
    BASELINE: torch_dense,
    "torch-bf16": partial(torch_dense, dtype=torch.bfloat16),
    "torch-compile": torch_compile,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "openvino-bf16": partial(openvino, precision="bf16"),
    "torch-csr": torch_csr,
    "torch-bsr": torch_bsr,
    "torch-bsr-linear": partial(torch_bsr, as_linear=True),
    "scipy-csr": partial(scipy_sparse, form="csr"),
    "scipy-bsr": partial(scipy_sparse, form="bsr"),
    OURS: blockprune,
}


def _of_torch(
    key: str, name: str, run: Callable[[], Any], precision: str = "float32", transposed: bool = False
) -> Engine:
    def answer() -> np.ndarray:
        result: Tensor = run().detach().double()
        return (result.T if transposed else result).numpy()

    return Engine(key, name, run, answer, precision)


def _after(run: Callable[[], object], result: Callable[[], np.ndarray]) -> np.ndarray:
    run()
    return result().astype(np.float64)


def _blocks(problem: Problem) -> tuple[int, int]:
    """The group's sides, where blocks of that size fill the matrix; other libraries do not store a ragged edge."""
    shape = problem.weight.shape
    height, width = problem.structure.group_shape(shape)
    if shape[0] % height or shape[1] % width:
        raise UnavailableError(f"blocks of {height} x {width} do not fill {shape[0]} x {shape[1]}")
    return height, width


def _graph(problem: Problem) -> bytes:
    """The product as a serialised ONNX graph with the weight inside it."""
    onnx = runtimes.imported("onnx")
    helper, (tokens, inputs), outputs = onnx.helper, problem.x.shape, problem.weight.shape[0]
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [tokens, inputs])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [tokens, outputs])
    weight = onnx.numpy_helper.from_array(problem.weight.numpy(), "w")
    graph = helper.make_graph([node], "product", [given], [result], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised


def _quiet(make: Callable[[], Tensor]) -> Tensor:
    """Without torch's notice that its sparse formats are in beta."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Sparse.* tensor support is in beta.*")
        return make()
