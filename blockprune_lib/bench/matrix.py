"""The benchmark of one matrix: random weights pruned to a rate, run by every off-the-shelf way that we know.

The product is Y = X Wᵀ of token-major activations X (tokens, inputs) with a masked weight W (outputs, inputs), no bias.
The formats that multiply from the left, W Xᵀ, are given Xᵀ already transposed, which favours them. Preparing (copying,
packing, compiling) is not timed. Only sizes, structure and rate decide how long a product takes, so the weights are
random; caches stay warm, as the repeated product of a server under load keeps them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..nn.block_sparse_linear import BlockSparseLinear
from ..pruning.groups import group_scores
from ..pruning.packing import pack
from ..pruning.selection import select
from ..pruning.structure import BlockStructure, expand
from . import formats, runtimes
from .case import Case, What
from .measuring import Progress, measure_all, measured
from .records import Record
from .runtimes import Engine, UnavailableError, Work
from .settings import MatrixCase, MatrixSettings

CSR = BlockStructure.irregular()  # single weights, which `formats` stores as compressed sparse rows

#: Largest error that passes, relative to the largest number of the answer. bfloat16 keeps 8 bits of a number.
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2}


@dataclass(frozen=True)
class Problem(Work):
    """One product: masked `weight` (M, N) float32, `given` X (T, N) float32."""

    weight: Tensor

    def reference(self) -> np.ndarray:
        """X Wᵀ in float64, shape (T, M)."""
        return np.asarray(self.given.double().numpy() @ self.weight.double().numpy().T)

    def dense(self, dtype: torch.dtype) -> Callable[[], Tensor]:
        """`F.linear` with every zero stored."""
        weight, x = self.weight.to(dtype), self.given.to(dtype)
        return lambda: functional.linear(x, weight)

    def sparse(self) -> Callable[[], Tensor]:
        """The layer over the groups that were kept."""
        layer, x = BlockSparseLinear.from_packed(pack(self.weight, self.structure)), self.given
        return lambda: layer(x)

    def module(self) -> torch.nn.Linear:
        """The dense layer."""
        layer = torch.nn.Linear(self.weight.shape[1], self.weight.shape[0], bias=False, device="meta")
        layer.weight = torch.nn.Parameter(self.weight, requires_grad=False)
        return layer.eval()

    def graph(self) -> bytes:
        """The product as a serialised ONNX graph with the weight inside it."""
        onnx = runtimes.imported("onnx")
        helper, (tokens, inputs), outputs = onnx.helper, self.given.shape, self.weight.shape[0]
        node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
        given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [tokens, inputs])
        result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [tokens, outputs])
        weight = onnx.numpy_helper.from_array(self.weight.numpy(), "w")
        graph = helper.make_graph([node], "product", [given], [result], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(model.SerializeToString())


def torch_csr(problem: Problem) -> Engine:
    """`W @ Xᵀ` with W in compressed sparse rows."""
    matrix, right = formats.to_torch(problem.weight, CSR), problem.given.T.contiguous()
    return Engine.of_torch("torch-csr", "torch CSR @ X", lambda: matrix @ right, transposed=True)


def torch_bsr(problem: Problem, as_linear: bool = False) -> Engine:
    """`W @ Xᵀ`, or `F.linear(X, W)` as torch's documentation has it, with W in square blocks."""
    tile = _tile(problem)
    if tile.height != tile.width or tile.height == 1:
        sides = f"{tile.height} x {tile.width}"
        raise UnavailableError(f"torch runs BSR in square blocks of 2 or more; {problem.structure} has {sides}")
    matrix, x = formats.to_torch(problem.weight, tile), problem.given
    if as_linear:
        return Engine.of_torch("torch-bsr-linear", "torch BSR F.linear", lambda: functional.linear(x, matrix))
    right = x.T.contiguous()
    return Engine.of_torch("torch-bsr", "torch BSR @ X", lambda: matrix @ right, transposed=True)


def scipy_sparse(problem: Problem, form: str) -> Engine:
    """SciPy's `W @ Xᵀ` with W in CSR or BSR, which runs on one thread whatever is asked."""
    tile = CSR if form == "csr" else _tile(problem)
    if form == "bsr" and (tile.height, tile.width) == (1, 1):
        raise UnavailableError(f"BSR in blocks of 1 x 1, as {problem.structure} has, is CSR")
    matrix, right = formats.to_scipy(problem.weight, tile), np.ascontiguousarray(problem.given.numpy().T)
    run: Callable[[], Any] = partial(operator.matmul, matrix, right)
    return Engine(f"scipy-{form}", f"SciPy {form.upper()} @ X", run, lambda: run().T.astype(np.float64), threads=1)


#: Key -> what makes the engine, in the order of the table; the first is the baseline and the last is ours.
ENGINES: Mapping[str, Callable[[Problem], Engine]] = {
    **runtimes.DENSE,
    "torch-csr": torch_csr, "torch-bsr": torch_bsr, "torch-bsr-linear": partial(torch_bsr, as_linear=True),
    "scipy-csr": partial(scipy_sparse, form="csr"), "scipy-bsr": partial(scipy_sparse, form="bsr"),
    "blockprune": runtimes.blockprune,
}  # fmt: skip


def _tile(problem: Problem) -> BlockStructure:
    """The problem's groups as tiles, where these fill the matrix; other libraries do not store a ragged edge."""
    shape = problem.weight.shape
    height, width = problem.structure.group_shape(shape)
    if shape[0] % height or shape[1] % width:
        raise UnavailableError(f"blocks of {height} x {width} do not fill {shape[0]} x {shape[1]}")
    return BlockStructure.tile(height, width)


def bench_matrices(*, progress: Progress = None, **settings: Any) -> Record:
    """Time one pruned matrix in every engine, for each combination of the settings; the record prints itself.

    shapes      (outputs, inputs) of each matrix
    structures  structures as text, "block_column:16"
    rates       all groups ÷ kept groups: 5.0 keeps one in five
    tokens, threads, repeats, warmup, seed
    peers       "all", "none" or the keys of `ENGINES` to run beside torch and blockprune; `skip` takes some away
    progress    called with a line of text before each case

    Every answer is compared with float64 before it is timed; an engine that is wrong is reported, not timed. Raises
    ValueError or TypeError for wrong settings before anything runs, RuntimeError where torch's or our answer is wrong.

    >>> record = bench_matrices(shapes=[(64, 32)], tokens=[8], peers="none", repeats=3)
    >>> [case.what.kept for case in record.cases]
    [416]
    """
    asked = MatrixSettings(**settings)
    keys = asked.engines(ENGINES)

    def measure(case: MatrixCase) -> Case:
        problem = problem_of(case, asked.seed)
        kept = int(problem.weight.count_nonzero())
        given = case._asdict() | {"shape": list(case.shape)}
        what = What(**given, kept=kept, density=kept / problem.weight.numel())
        makers = {key: partial(ENGINES[key], problem) for key in keys}
        return measured(what, 2.0 * case.tokens * kept, makers, asked, TOLERANCES, reference=problem.reference())

    return measure_all("matrix", asked, measure, progress)


def problem_of(case: MatrixCase, seed: int) -> Problem:
    """A random weight with exactly the kept groups of `select`, and random activations."""
    shape, structure = case.shape, BlockStructure.parse(case.structure)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator) / math.sqrt(shape[1])
    mask = expand(select(group_scores(weight, structure), case.rate), structure, shape)
    x = torch.randn((case.tokens, shape[1]), generator=generator)
    return Problem(structure, x, case.threads, torch.where(mask, weight, 0.0))
