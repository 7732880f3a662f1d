"""Every off-the-shelf way that we know to run one pruned matrix on a CPU, as functions that can be timed.

The product is Y = X Wᵀ of token-major activations X (tokens, inputs) with a masked weight W (outputs, inputs), no bias.
The formats that multiply from the left, W Xᵀ, are given Xᵀ already transposed, which favours them. Preparing (copying,
packing, compiling) is done before and not timed. Left out: engines that are not on PyPI, integers, and GPUs.
"""

from __future__ import annotations

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
from . import formats, runtimes
from .runtimes import Engine, UnavailableError

CSR = BlockStructure.irregular()  # single weights, which `formats` stores as compressed sparse rows

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


def torch_dense(problem: Problem, dtype: torch.dtype = torch.float32) -> Engine:
    """`F.linear` with every zero stored."""
    weight, x = problem.weight.to(dtype), problem.x.to(dtype)
    word = str(dtype).removeprefix("torch.")
    key, short = ("torch", "f32") if dtype == torch.float32 else ("torch-bf16", "bf16")
    return Engine.of_torch(key, f"torch dense {short}", lambda: functional.linear(x, weight), word)


def torch_csr(problem: Problem) -> Engine:
    """`W @ Xᵀ` with W in compressed sparse rows."""
    matrix, right = formats.to_torch(problem.weight, CSR), problem.x.T.contiguous()
    return Engine.of_torch("torch-csr", "torch CSR @ X", lambda: matrix @ right, transposed=True)


def torch_bsr(problem: Problem, as_linear: bool = False) -> Engine:
    """`W @ Xᵀ`, or `F.linear(X, W)` as torch's documentation has it, with W in square blocks."""
    tile = _tile(problem)
    if tile.height != tile.width or tile.height == 1:
        raise UnavailableError(
            f"torch runs BSR in square blocks of 2 or more; {problem.structure} has {tile.height} x {tile.width}"
        )
    matrix = formats.to_torch(problem.weight, tile)
    if as_linear:
        return Engine.of_torch("torch-bsr-linear", "torch BSR F.linear", lambda: functional.linear(problem.x, matrix))
    right = problem.x.T.contiguous()
    return Engine.of_torch("torch-bsr", "torch BSR @ X", lambda: matrix @ right, transposed=True)


def torch_compile(problem: Problem) -> Engine:
    """The dense layer through torch.compile."""
    layer = torch.nn.Linear(problem.weight.shape[1], problem.weight.shape[0], bias=False, device="meta")
    layer.weight = torch.nn.Parameter(problem.weight, requires_grad=False)
    return runtimes.torch_compile(layer.eval(), problem.x)


def scipy_sparse(problem: Problem, form: str) -> Engine:
    """SciPy's `W @ Xᵀ` with W in CSR or BSR, which runs on one thread whatever is asked."""
    tile = CSR if form == "csr" else _tile(problem)
    if form == "bsr" and (tile.height, tile.width) == (1, 1):
        raise UnavailableError(f"BSR in blocks of 1 x 1, as {problem.structure} has, is CSR")
    matrix, right = formats.to_scipy(problem.weight, tile), np.ascontiguousarray(problem.x.numpy().T)

    def run() -> Any:
        return matrix @ right

    return Engine(f"scipy-{form}", f"SciPy {form.upper()} @ X", run, lambda: run().T.astype(np.float64), threads=1)


def onnxruntime(problem: Problem) -> Engine:
    """The dense product as an ONNX graph in ONNX Runtime."""
    shape = (problem.x.shape[0], problem.weight.shape[0])
    return runtimes.onnxruntime(partial(_graph, problem), problem.x.numpy(), shape, problem.threads)


def openvino(problem: Problem, precision: str = "f32") -> Engine:
    """The dense product as the same ONNX graph in OpenVINO."""
    return runtimes.openvino(partial(_graph, problem), problem.x.numpy(), precision, problem.threads)


def blockprune(problem: Problem) -> Engine:
    """This library's layer over the groups that were kept."""
    layer = block_sparse_linear.BlockSparseLinear.from_packed(packing.pack(problem.weight, problem.structure))
    return Engine.of_torch("blockprune", "blockprune", lambda: layer(problem.x))


#: Key -> what makes the engine, in the order of the table; the first is the baseline and the last is ours.
ENGINES: Mapping[str, Callable[[Problem], Engine]] = {
    "torch": torch_dense,
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
    "blockprune": blockprune,
}


def _tile(problem: Problem) -> BlockStructure:
    """The problem's groups as tiles, where these fill the matrix; other libraries do not store a ragged edge."""
    shape = problem.weight.shape
    height, width = problem.structure.group_shape(shape)
    if shape[0] % height or shape[1] % width:
        raise UnavailableError(f"blocks of {height} x {width} do not fill {shape[0]} x {shape[1]}")
    return BlockStructure.tile(height, width)


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
