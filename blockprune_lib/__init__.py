"""Block-structured pruning with reweighted group Lasso, and layers that run what is left faster.

One idea carries everything: a `BlockStructure` tiles a weight matrix into groups of r x c. Penalty, selection, masks,
packing and kernels all speak of the same grid of groups. The files stand in the order of the book:

    hardware, timing, structure, layers          what machine, how fast, which groups, which matrices
    lasso, selection, packing                    which groups may vanish, which stay, how they are stored
    kernels, models, tasks                       run them; real weights; real text
    modules, training                            sparse layers in a model; fine-tune, reweight, prune, retrain
    experiments                                  a recipe in, a record with its provenance out
    exercises, plots, chapter                    what the book's pages call
    widgets                                      explorers: with a kernel, in Colab, on a page without one

Names load when they are first used, so importing the package compiles nothing and reaches no network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Not lazy: the function and its module share a name, and whichever is bound last would win.
from .hardware import hardware as hardware

__version__ = "0.1.0"

#: Public name -> module that defines it.
_HOME = {
    "BlockSparseLinear": "modules",
    "BlockStructure": "structure",
    "PackedMatrix": "packing",
    "ReweightedGroupLasso": "lasso",
    "TrainingSettings": "training",
    "apply_masks_": "selection",
    "break_even_density": "modules",
    "check": "exercises",
    "compare": "timing",
    "compression": "modules",
    "evaluate": "training",
    "expand": "structure",
    "fine_tune": "training",
    "group_norms": "structure",
    "group_scores": "structure",
    "group_soft_threshold": "shrinking",
    "linear": "kernels",
    "load": "modules",
    "pack": "packing",
    "prunable": "layers",
    "prune": "training",
    "prune_gradually": "training",
    "retrain": "training",
    "save": "modules",
    "select": "selection",
    "select_model": "selection",
    "sparsify": "modules",
    "threads": "timing",
    "train_reweighted": "training",
}
_MODULES = {
    "chapter", "exercises", "experiments", "kernels", "lasso", "layers", "metrics", "models", "modules", "packing",
    "plots", "selection", "sentences", "structure", "tasks", "timing", "training",
    "widgets",
}  # fmt: skip

__all__ = sorted(["hardware", *_HOME, *_MODULES])

if TYPE_CHECKING:
    from . import experiments as experiments
    from . import kernels as kernels
    from . import models as models
    from . import tasks as tasks
    from .exercises import check as check
    from .kernels import linear as linear
    from .lasso import ReweightedGroupLasso as ReweightedGroupLasso
    from .layers import prunable as prunable
    from .modules import BlockSparseLinear as BlockSparseLinear
    from .modules import break_even_density as break_even_density
    from .modules import compression as compression
    from .modules import load as load
    from .modules import save as save
    from .modules import sparsify as sparsify
    from .packing import PackedMatrix as PackedMatrix
    from .packing import pack as pack
    from .selection import apply_masks_ as apply_masks_
    from .selection import select as select
    from .selection import select_model as select_model
    from .shrinking import group_soft_threshold as group_soft_threshold
    from .structure import BlockStructure as BlockStructure
    from .structure import expand as expand
    from .structure import group_norms as group_norms
    from .structure import group_scores as group_scores
    from .timing import compare as compare
    from .timing import threads as threads
    from .training import TrainingSettings as TrainingSettings
    from .training import evaluate as evaluate
    from .training import fine_tune as fine_tune
    from .training import prune as prune
    from .training import prune_gradually as prune_gradually
    from .training import retrain as retrain
    from .training import train_reweighted as train_reweighted


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
