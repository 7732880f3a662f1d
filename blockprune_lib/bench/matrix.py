"""The benchmark of one matrix: random weights pruned to a rate, run by every off-the-shelf way that we know.

The product is Y = X Wᵀ of token-major activations X (tokens, inputs) with a masked weight W (outputs, inputs), no bias.
The formats that multiply from the left, W Xᵀ, are given Xᵀ already transposed, which favours them. Preparing (copying,
packing, compiling) is not timed. Only sizes, structure and rate decide how long a product takes, so the weights are
random; caches stay warm, as the repeated product of a server under load keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..nn.block_sparse_linear import BlockSparseLinear
from ..pruning.groups import group_scores
from ..pruning.packing import pack
from ..pruning.selection import select
from ..pruning.structure import BlockStructure, expand
from .case import Case, What
from .engine import Engine, Work, engine_of, imported
from .measuring import Progress, measure_all, measured
from .records import Record
from .rivals import rivals_of
from .settings import MatrixCase, MatrixSettings

#: Largest error that passes, relative to the largest number of the answer. bfloat16 keeps 8 bits of a number.
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2}


@dataclass(frozen=True)
class Problem(Work):
    """One product: masked `weight` (M, N) float32, `x` (T, N) float32."""

    structure: BlockStructure
    x: Tensor
    threads: int
    weight: Tensor

    def reference(self) -> np.ndarray:
        """X Wᵀ in float64, shape (T, M)."""
        return np.asarray(self.x.double().numpy() @ self.weight.double().numpy().T)

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """X."""
        return {"x": self.x}

    def given(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """X in another type."""
        return (self.x.to(dtype),)

    def module(self, dtype: torch.dtype) -> torch.nn.Linear:
        """The dense layer."""
        layer = torch.nn.Linear(self.weight.shape[1], self.weight.shape[0], bias=False, device="meta")
        layer.weight = torch.nn.Parameter(self.weight.to(dtype), requires_grad=False)
        return layer.eval()

    def read(self, result: np.ndarray) -> np.ndarray:
        """All of it."""
        return result.astype(np.float64)

    def graph(self) -> bytes:
        """The product as a serialised ONNX graph with the weight inside it."""
        onnx = imported("onnx")
        helper, (tokens, inputs), outputs = onnx.helper, self.x.shape, self.weight.shape[0]
        node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
        given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [tokens, inputs])
        result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [tokens, outputs])
        weight = onnx.numpy_helper.from_array(self.weight.numpy(), "w")
        graph = helper.make_graph([node], "product", [given], [result], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(model.SerializeToString())

    def ours(self) -> Engine:
        """The layer over the groups that were kept."""
        layer, x = BlockSparseLinear.from_packed(pack(self.weight, self.structure)), self.x
        return Engine("blockprune", "blockprune", lambda: layer(x), self.answer_of(lambda: layer(x)))


def bench_matrices(*, progress: Progress = None, **settings: Any) -> Record:
    """Time one pruned matrix in every engine, for each combination of the settings; the record prints itself.

    shapes      (outputs, inputs) of each matrix
    structures  structures as text, "block_column:16"
    rates       all groups ÷ kept groups: 5.0 keeps one in five
    tokens      rows of x
    threads, repeats, warmup, seed   as in `compare`
    peers       "all", "none" or the keys of rivals to run beside torch and blockprune; `skip` takes some away
    progress    called with a line of text before each case

    Every answer is compared with float64 before it is timed; an engine that is wrong is reported, not timed. Raises
    ValueError or TypeError for wrong settings before anything runs, RuntimeError where torch's or our answer is wrong.

    >>> record = bench_matrices(shapes=[(64, 32)], tokens=[8], peers="none", repeats=3)
    >>> [case.what.kept for case in record.cases]
    [416]
    """
    asked = MatrixSettings(**settings)
    rivals = asked.chosen(rivals_of("matrix"))

    def measure(case: MatrixCase) -> Case:
        problem = problem_of(case, asked.seed)
        kept = int(problem.weight.count_nonzero())
        given = case._asdict() | {"shape": list(case.shape)}
        what = What(**given, kept=kept, density=kept / problem.weight.numel())
        makers = {rival.key: partial(engine_of, rival, problem) for rival in rivals}
        return measured(
            what, 2.0 * case.tokens * kept, makers, {"blockprune": problem.ours}, asked, TOLERANCES,
            reference=problem.reference(),
        )  # fmt: skip

    return measure_all("matrix", asked, measure, progress)


def problem_of(case: MatrixCase, seed: int) -> Problem:
    """A random weight with exactly the kept groups of `select`, and random activations."""
    shape, structure = case.shape, BlockStructure.parse(case.structure)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator) / math.sqrt(shape[1])
    mask = expand(select(group_scores(weight, structure), case.rate), structure, shape)
    x = torch.randn((case.tokens, shape[1]), generator=generator)
    return Problem(structure, x, case.threads, torch.where(mask, weight, 0.0))
