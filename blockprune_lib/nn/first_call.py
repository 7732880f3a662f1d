"""Make a sparsified model ready for its first call: what is compiled or loaded from disk then, is so before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._common.evaluating import evaluating
from .._common.inference import ordinary_tensors
from ..kernels import parallel
from ..kernels.encoder import encoder_worker
from ..machine.cpu import processor
from ..machine.native import cache_folder
from .block_sparse_linear import BlockSparseLinear
from .engine import CompiledForward
from .whole_call import WholeCall

TOKENS = 8


@dataclass(frozen=True, repr=False)
class WarmUp:
    """What `warm_up` did: `print` shows it.

    seconds            how long it took
    compiled, loaded   names of the kernels that were compiled, and of those that were loaded from disk
    folder             where compiled kernels are kept; None: nowhere
    threads, cores     the threads that torch uses, and the cores that this process may use
    """

    seconds: float
    compiled: tuple[str, ...]
    loaded: tuple[str, ...]
    folder: Path | None
    threads: int
    cores: int

    def __float__(self) -> float:
        return self.seconds

    def __repr__(self) -> str:
        made = [_kernels(self.compiled, "compiled"), _kernels(self.loaded, "loaded from disk")]
        more = f": torch.set_num_threads({self.cores}) would do" if self.threads > self.cores else ""
        where = self.folder or "nowhere: each process compiles anew; NUMBA_CACHE_DIR may name a folder to write to"
        rows = {
            "warm-up": f"{self.seconds:.2f} s: {', '.join(filter(None, made)) or 'all was ready'}",
            "kept in": where,
            "threads": f"torch uses {self.threads}, cores to use {self.cores}{more}",
        }
        return "\n".join(f"{key:<9}{value}" for key, value in rows.items())


@ordinary_tensors
def warm_up(model: nn.Module, *, training: bool = False) -> WarmUp:
    """Run every block-sparse layer and compiled encoder of `model` once, so that the first real call is not slower.

    Machine code is compiled where it is not on disk yet (5 to 10 s), else loaded (under a second); the lists that
    kernels walk are made. `training=True`: also what gradients need. The model stays as it is: mode, gradients, random
    state. Code is kept in the folder that `NUMBA_CACHE_DIR` names, else beside the library's sources, else in the
    user's cache folder, whichever can be written first; an image of a container may hold it, since it is read where
    nothing can be written: call this while the image is built. Raises TypeError for what is no module, ValueError for
    a model without block-sparse layers.

    >>> from blockprune_lib import BlockStructure
    >>> model = nn.Sequential(BlockSparseLinear(64, 32, BlockStructure.block_row(16)))
    >>> warm_up(model).seconds > 0
    True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}: sparsify() returns one")
    layers = [module for module in model.modules() if isinstance(module, BlockSparseLinear)]
    if not layers:
        raise ValueError(f"model {type(model).__name__} has no block-sparse layer: sparsify(model, structure) would do")
    before, start = parallel.ready(), time.perf_counter()
    with torch.no_grad():
        for layer in layers:
            layer(_zeros(layer))
    for module in model.modules():
        forward = vars(module).get("forward")
        if isinstance(forward, CompiledForward):
            _run_compiled(module)
        elif isinstance(forward, WholeCall):
            with evaluating(module), torch.inference_mode():
                forward.prepare(TOKENS)
    if training:
        for layer in layers:
            _differentiate(layer)
    seconds = time.perf_counter() - start
    new = {name: kept for name, kept in parallel.ready().items() if name not in before}
    compiled, loaded = (tuple(name for name, kept in new.items() if kept == disk) for disk in (False, True))
    cores = processor().usable_cores
    return WarmUp(seconds, compiled, loaded, cache_folder(encoder_worker), torch.get_num_threads(), cores)


def _run_compiled(encoder: Any) -> None:
    """One compiled call of an encoder, in evaluation mode; none where it would go layer by layer."""
    norms = (module for module in encoder.modules() if isinstance(module, nn.LayerNorm))
    width = next((norm.normalized_shape[0] for norm in norms), 1)  # without one there is no compiled call
    with evaluating(encoder), torch.inference_mode():
        dtype = next(encoder.parameters()).dtype
        encoder.forward.compiled(torch.zeros(1, TOKENS, width, dtype=dtype, device="cpu"), {})


def _differentiate(layer: BlockSparseLinear) -> None:
    with torch.enable_grad():
        x = _zeros(layer).requires_grad_()
        wanted = [x, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
        torch.autograd.grad(layer(x).sum(), wanted)


def _zeros(layer: BlockSparseLinear) -> torch.Tensor:
    return layer.values.detach().new_zeros(TOKENS, layer.in_features)


def _kernels(names: tuple[str, ...], what: str) -> str:
    listed = ", ".join(name.removesuffix("_worker") for name in names)
    return f"{len(names)} kernel{'s' * (len(names) > 1)} {what} ({listed})" if names else ""
