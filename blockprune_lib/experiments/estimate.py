"""How long a recipe will take here, before it starts: tokens to train on, over the measured pace of a training step.

A step costs about 6 · parameters · tokens operations, and 2 more for a teacher's forward pass. What this machine does a
second is measured on a few steps of each model. A stage that several runs share is counted once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..training.arguments import in_bfloat16
from .actions import load_model, load_task
from .run_spec import Run

_BATCH, _STEPS = 32, 3
#: Rows whose tokens are counted, for the mean.
_SAMPLE = 500


class _Text(NamedTuple):
    """What training on a task costs: rows and tokens of an epoch, tokens a second, the model's layers."""

    rows: int
    tokens: int
    pace: float
    layers: int


def hours(runs: Sequence[Run], folder: Path | None = None) -> float:
    """How many hours `runs` would train on this machine, by a few steps timed now; scoring is not counted.

    Runs that have a record in `folder` are left out.
    """
    left = [run for run in runs if folder is None or not (folder / "records" / f"{run.name}.json").exists()]
    texts: dict[str, _Text] = {}
    costs: dict[str, float] = {}
    for run in left:
        of = f"{run.model} {run.task} {run.description} {run.options}"
        if of not in texts and any(stage.action != "bag_of_words" for stage in run.method_stages):
            texts[of] = _measure(run)
        for identity, seconds in _stages(run, texts.get(of)):
            costs[f"{of} {identity}"] = seconds
    return sum(costs.values()) / 3600


def _stages(run: Run, text: _Text | None) -> Iterable[tuple[str, float]]:
    """(What tells it from others, seconds) of each trained stage of a run."""
    path, part = f"{run.seed}", 1.0
    for stage in run.method_stages if text else ():
        assert text is not None
        path += f" {stage}"
        if stage.action == "keep_layers":
            part = (run.layers or text.layers) / text.layers
        if stage.key == "prune":
            path += f" {run.rate} {run.structure} {run.layers}"
            continue
        settings = run.budget(stage)
        if stage.action != "fine_tune":
            path += f" {run.structure}" + f" {run.rate}" * (stage.action != "train_reweighted")
        epochs = settings.max_steps * settings.batch_size / text.rows if settings.max_steps > 0 else settings.epochs
        taught = stage.budget or stage.key != "fine_tune"
        teacher = 1 / 3 if taught and any(run.extra(stage.key).get(key) for key in ("distil", "hidden")) else 0.0
        yield path, epochs * text.tokens / text.pace * (part + teacher)


def _measure(run: Run) -> _Text:
    """The tokens of the run's task, and the pace of a few steps of its model at its length."""
    task = load_task(run)
    model, tokenizer = load_model(run, task)
    settings = run.settings("fine_tune")
    count = len(task.train)
    some = task.train.select(range(0, count, max(1, count // _SAMPLE)))
    texts = [list(some[column]) for column in task.text]
    lengths = list(map(len, tokenizer(*texts, truncation=True, max_length=settings.max_length)["input_ids"]))
    length = max(1, round(sum(lengths) / len(lengths)))
    ids = torch.full((_BATCH, length), int(tokenizer.pad_token_id or 0))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    model.train()
    seconds = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16(settings)):
            loss: Any = model(**given).logits.float().square().mean()
        loss.backward()
        seconds.append(time.perf_counter() - start)
    layers = getattr(model.config, "num_hidden_layers", 1)
    return _Text(count, count * length, ids.numel() / min(seconds), layers)
