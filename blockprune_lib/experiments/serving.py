"""What a service would see: sentences a second in batches as they come, and how often fewer bits change an answer.

A batch holds texts in the order of the file, each of its own length. What needs padding pays for it; the compiled call
does not, since sequences lie side by side in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from ..data.tasks import Task
from ..machine.timing import compare
from ..training.evaluation import INPUTS, predict

#: Texts that are timed, from the beginning of the validation part, and texts of a batch.
_TEXTS, _BATCH = 256, 32
Inputs = list[dict[str, torch.Tensor]]


def serving_of(
    engines: Mapping[str, Any], exact: str, tokenizer: Any, task: Task, *, max_length: int, repeats: int, threads: int
) -> dict[str, Any]:
    """Sentences a second of one model in each of `engines`, {name: model}, and the share of answers that are `exact`'s.

    Times are of the first 256 validation rows in batches of 32, the engines in turns: median, with those of the
    quartiles of the time. Shares are over all validation rows; a regression has none.
    """
    rows = list(task.encode(tokenizer, max_length)[1])[:_TEXTS]
    texts = [{name: row[name] for name in INPUTS if name in row} for row in rows]
    batches = [dict(tokenizer.pad(texts[i : i + _BATCH], return_tensors="pt")) for i in range(0, len(texts), _BATCH)]
    calls = {name: partial(run_all, model.eval(), batches) for name, model in engines.items()}
    found = compare(calls, baseline=exact, repeats=repeats, warmup=1, threads=threads).to_dict()["timings"]
    told: dict[str, dict[str, float]] = {}
    for name, time in found.items():
        low, middle, high = (1000 * len(texts) / time[key] for key in ("q3_ms", "median_ms", "q1_ms"))
        told[name] = {"sentences_per_second": middle, "low": low, "high": high}
    if not task.regression:
        answers = {name: predict(model, tokenizer, task, 64, max_length).argmax(1) for name, model in engines.items()}
        for name, given in answers.items():
            told[name]["same_answers"] = float((given == answers[exact]).double().mean())
    return {"engines": told, "exact": exact, "texts": len(texts), "batch": _BATCH, "rows": len(task.validation)}


@torch.inference_mode()
def run_all(model: Any, inputs: Inputs) -> None:
    """Call `model` with each of `inputs`, texts or batches of them, one after the other."""
    for given in inputs:
        model(**given)
