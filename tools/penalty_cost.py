"""What the reweighted group Lasso, frozen embeddings and bf16 do to a training step: MiniLM, steps side by side.

`python -m tools.penalty_cost` (about five minutes) prints tables and writes book/results/penalty-cost.json. A step is
forward, backward, clipping and AdamW on random token ids; the penalty's gradient joins after the backward pass, as in
`blockprune_lib.training`. Reweighting happens once in many steps; the record adds it to every step, as the worst case.
Frozen embeddings and bf16 are the options `freeze_embeddings` and `bf16` of `TrainingSettings`, without a penalty.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from blockprune_lib import models
from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib._common.tables import text_table
from blockprune_lib.machine.comparison import Comparison
from blockprune_lib.machine.passport import hardware
from blockprune_lib.machine.timing import compare
from blockprune_lib.pruning.lasso import ReweightedGroupLasso
from blockprune_lib.pruning.structure import BlockStructure

FORMAT = "blockprune penalty cost, version 1"
RESULT = Path(__file__).resolve().parent.parent / "book" / "results" / "penalty-cost.json"
STRUCTURES = ("irregular", "block_row:64", "block_row:8", "block_column:16", "block_column:64", "tile:32x32", "row",
              "column")  # fmt: skip
WITHOUT = "without"
ACTS = ("add_gradient_", "reweight", "backward of pen()")
OPTIONS = {"frozen embeddings": (True, False), "bf16": (False, True), "both": (True, True)}


class Workshop:
    """One model, its optimiser and a batch; penalties of every structure over the same weights."""

    def __init__(self, model: str, batch: int, tokens: int, structures: tuple[str, ...]) -> None:
        torch.manual_seed(0)
        self.loaded = models.load(model)
        self.model = self.loaded.model.train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)
        words = self.model.config.vocab_size
        ids = torch.randint(words // 2, words, (batch, tokens))
        self.batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.arange(batch) % 2}
        self.penalties = {text: ReweightedGroupLasso(self.model, BlockStructure.parse(text)) for text in structures}

    def step(self, penalty: ReweightedGroupLasso | None = None, frozen: bool = False, bf16: bool = False) -> None:
        """One fine-tuning step, with the penalty's gradient where there is a penalty."""
        self.optimiser.zero_grad()
        self.model.base_model.embeddings.requires_grad_(not frozen)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = self.model(**self.batch).loss
        loss.backward()
        if penalty is not None:
            penalty.add_gradient_()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()

    def steps(self) -> dict[str, Callable[[], object]]:
        """A step without a penalty, and one with each."""
        found: dict[str, Callable[[], object]] = {WITHOUT: self.step}
        return found | {text: functools.partial(self.step, penalty) for text, penalty in self.penalties.items()}

    def options(self) -> dict[str, Callable[[], object]]:
        """A step as it is, and one with each option."""
        found: dict[str, Callable[[], object]] = {WITHOUT: self.step}
        return found | {
            name: functools.partial(self.step, frozen=frozen, bf16=bf16) for name, (frozen, bf16) in OPTIONS.items()
        }

    def acts(self) -> dict[str, Callable[[], object]]:
        """What each penalty does by itself, onto gradients that are there."""
        found: dict[str, Callable[[], object]] = {}
        for text, penalty in self.penalties.items():
            backward = functools.partial(_backward, penalty)
            calls: tuple[Callable[[], object], ...] = (penalty.add_gradient_, penalty.reweight, backward)
            found |= {f"{text} {act}": call for act, call in zip(ACTS, calls, strict=True)}
        return found


def _backward(penalty: ReweightedGroupLasso) -> None:
    penalty().backward()


def rows(steps: Comparison, acts: Comparison) -> list[dict[str, Any]]:
    """Each structure's cost; shares are of a step without penalty, their ends those of the 95 % interval."""
    found = []
    for text in steps.timings:
        if text == WITHOUT:
            continue
        ratio, base = steps.ratio(text), steps.medians[WITHOUT]
        own = {act: acts.medians[f"{text} {act}"] for act in ACTS}
        found.append(
            {
                "structure": text,
                "step_ms": steps.medians[text],
                "added_share": {"value": 1 / ratio.value - 1, "low": 1 / ratio.high - 1, "high": 1 / ratio.low - 1},
                "own_ms": own,
                "own_share_reweighting_every_step": (own["add_gradient_"] + own["reweight"]) / base,
            }
        )
    return found


def table(found: list[dict[str, Any]], without_ms: float) -> str:
    """The rows as text."""
    head = ["structure", "step ms", "added [95 %]", *(f"{act} ms" for act in ACTS), "first two ÷ step"]
    lines = [head, [WITHOUT, f"{without_ms:.0f}", "", "", "", "", ""]]
    for row in found:
        share = row["added_share"]
        added = f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"
        own = [f"{row['own_ms'][act]:.1f}" for act in ACTS]
        lines.append([row["structure"], f"{row['step_ms']:.0f}", added, *own,
                      f"{row['own_share_reweighting_every_step']:.1%}"])  # fmt: skip
    return text_table(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write the record; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, action="append", help="may be repeated; default: 2, then 1")
    parser.add_argument("--repeats", type=int, default=20, help="rounds; in each every function has one turn")
    parser.add_argument("--structure", action="append", help=f"may be repeated; default: {', '.join(STRUCTURES)}")
    parser.add_argument("--json", default=str(RESULT), help="where the record goes")
    options = parser.parse_args(arguments)
    shop = Workshop(options.model, options.batch, options.tokens, tuple(options.structure or STRUCTURES))
    cases = []
    for number in options.threads or (2, 1):
        print(f"{number} threads, {options.repeats} rounds of {1 + len(shop.penalties)} steps ...", flush=True)
        take_turns = functools.partial(compare, repeats=options.repeats, warmup=2, min_time_ms=0.0, threads=number)
        steps, acts = take_turns(shop.steps(), baseline=WITHOUT), take_turns(shop.acts())
        found = rows(steps, acts)
        print(table(found, steps.medians[WITHOUT]), flush=True)
        choices = take_turns(shop.options(), baseline=WITHOUT)
        print(choices, flush=True)
        measured = {"steps": steps, "acts": acts, "options": choices}
        kept = {name: comparison.to_dict() for name, comparison in measured.items()}
        cases.append({"threads": number, "structures": found} | kept)
    record = {
        "format": FORMAT,
        "settings": {
            "batch": options.batch, "tokens": options.tokens, "max_grad_norm": 1.0, "optimiser": "AdamW, fused",
        },
        "model": shop.loaded.to_dict() | {"name": Path(options.model).name},  # of a folder its name alone
        "provenance": provenance(),
        "hardware": hardware().to_dict(),
        "cases": cases,
    }  # fmt: skip
    write_json(options.json, record)
    print(f"Recorded: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
