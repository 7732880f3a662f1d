"""What a page cannot do: cut the reader's own model at a rate, and score and time it anew, from ipywidgets controls."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .._common.tables import text_table
from ..machine.timing import compare
from ..nn.convert import TooDenseWarning, sparsify
from ..nn.model_size import compression
from ..pruning.structure import BlockStructure
from ..training.evaluation import evaluate
from ..training.stages import prune

STRUCTURES = ("block_column:16", "block_row:64", "tile:32x32", "row", "column", "irregular")


def outcome(
    model: nn.Module, tokenizer: Any, task: Any, structure: str, rate: float, tokens: Sequence[int] = (4, 64)
) -> dict[str, float]:
    """Score, times as fast as dense, and bytes of a copy of `model` that is cut at `rate` and not retrained.

    `tokens` (sequences, length) of the batch that is timed. `model` stays as it is. Raises as `prune` does.
    """
    parsed = BlockStructure.parse(structure)
    victim = copy.deepcopy(model).eval()
    prune(victim, parsed, rate)
    score = evaluate(victim, tokenizer, task)[task.primary]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TooDenseWarning)
        packed = sparsify(copy.deepcopy(victim), parsed)
    ids = torch.ones(tuple(tokens), dtype=torch.long)
    with torch.inference_mode():
        times = compare({"dense": lambda: model(ids), "sparse": lambda: packed(ids)}, repeats=5, warmup=1)
    megabytes = compression(packed).to_dict()["bytes_total"] / 1e6
    return {"score": score, "times as fast": times.ratio("sparse").value, "megabytes": megabytes}


def interact(
    model: nn.Module, tokenizer: Any, task: Any, structures: Sequence[str] = STRUCTURES,
    show: Callable[[str], object] = print,
) -> Any:  # fmt: skip
    """Controls for rate and structure, and the outcome for the reader's own model below; returns the widget.

    A slider and a menu of ipywidgets (7.7 and 8); each change cuts, scores and times a copy of `model`, so it waits
    until the slider is let go. `show` takes the table.

    >>> interact(model, tokenizer, bp.tasks.load("sst2"))  # doctest: +SKIP
    """
    import ipywidgets

    rate = ipywidgets.FloatLogSlider(
        value=2.0, base=10, min=0, max=1.3, step=0.01, description="rate", continuous_update=False, readout_format=".2f"
    )
    structure = ipywidgets.Dropdown(options=list(structures), description="structure")

    def cut(rate: float, structure: str) -> dict[str, float]:
        found = outcome(model, tokenizer, task, structure, rate)
        cells = [[name, f"{value:.3g}"] for name, value in found.items()]
        show(text_table([["cut, not retrained", f"{structure} at {rate:.2f}"], *cells]))
        return found

    return ipywidgets.interactive(cut, rate=rate, structure=structure)
