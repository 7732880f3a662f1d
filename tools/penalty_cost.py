"""What the reweighted group Lasso, frozen embeddings and bf16 do to a training step: MiniLM, steps side by side.

`python -m tools.penalty_cost` (about ten minutes) prints tables and writes book/results/penalty-cost.json. A step is
forward, backward, clipping and AdamW on random token ids. With a structure there is one more thing in it: the penalty's
gradient, its proximal step, or, as `lam: auto` has it at every so many steps, groups shrunk to a share. Frozen
embeddings and bf16 are the options `freeze_embeddings` and `bf16` of `TrainingSettings`, without a penalty.
"""

from __future__ import annotations

import argparse
import functools
import itertools
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
from blockprune_lib.training.hooks import Progress
from blockprune_lib.training.shrinking import ShrinkToRate
from tools.benchmarks import machine_class

FORMAT = "blockprune penalty cost, version 2"
RESULT = Path(__file__).resolve().parent.parent / "book" / "results" / "penalty-cost.json"
STRUCTURES = ("irregular", "block_column:4", "block_column:16", "block_row:64", "tile:32x32")
WITHOUT = "without"
#: What a step does besides: `method: penalty`, `method: proximal`, and a step of `lam: auto` in which groups shrink.
WAYS = ("penalty", "proximal", "auto")
RATE, RATE_OF_LEARNING = 5.0, 1e-5
OPTIONS = {"frozen embeddings": (True, False), "bf16": (False, True), "both": (True, True)}


class Workshop:
    """One model, its optimiser and a batch; penalties of every structure over the same weights."""

    def __init__(self, model: str, batch: int, tokens: int, structures: tuple[str, ...]) -> None:
        torch.manual_seed(0)
        self.loaded = models.load(model)
        self.model = self.loaded.model.train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=RATE_OF_LEARNING, fused=True)
        words = self.model.config.vocab_size
        ids = torch.randint(words // 2, words, (batch, tokens))
        self.batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.arange(batch) % 2}
        parsed = {text: BlockStructure.parse(text) for text in structures}
        self.penalties = {text: ReweightedGroupLasso(self.model, structure) for text, structure in parsed.items()}
        self.shrinking = {
            text: ShrinkToRate(self.model, structure, RATE, refresh_every=1, reach=1.5)
            for text, structure in parsed.items()
        }

    def step(self, text: str = "", way: str = WITHOUT, frozen: bool = False, bf16: bool = False) -> None:
        """One fine-tuning step, and what a way adds to it for the structure `text`."""
        self.optimiser.zero_grad()
        self.model.base_model.embeddings.requires_grad_(not frozen)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = self.model(**self.batch).loss
        loss.backward()
        if way == "penalty":
            self.penalties[text].add_gradient_()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        if way == "proximal":
            self.penalties[text].proximal_(RATE_OF_LEARNING)
        elif way == "auto":
            self.shrinking[text].step_counted(Progress(600, 1000, RATE_OF_LEARNING))

    def steps(self) -> dict[str, Callable[[], object]]:
        """A step without a penalty, and one of each way for each structure."""
        found: dict[str, Callable[[], object]] = {WITHOUT: self.step}
        both = itertools.product(self.penalties, WAYS)
        return found | {f"{text} {way}": functools.partial(self.step, text, way) for text, way in both}

    def options(self) -> dict[str, Callable[[], object]]:
        """A step as it is, and one with each option."""
        found: dict[str, Callable[[], object]] = {WITHOUT: self.step}
        return found | {
            name: functools.partial(self.step, frozen=frozen, bf16=bf16) for name, (frozen, bf16) in OPTIONS.items()
        }


def rows(steps: Comparison) -> list[dict[str, Any]]:
    """Each structure's cost by each way, a share of a step without penalty; its ends are those of the 95 % interval."""
    found = dict[str, dict[str, Any]]()
    for name in steps.timings:
        if name != WITHOUT:
            text, _, way = name.rpartition(" ")
            ratio = steps.ratio(name)
            share = {"value": 1 / ratio.value - 1, "low": 1 / ratio.high - 1, "high": 1 / ratio.low - 1}
            found.setdefault(text, {"structure": text, "added_share": {}})["added_share"][way] = share
    return list(found.values())


def table(found: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [["added to a step", *WAYS]]
    for row in found:
        shares = [row["added_share"][way] for way in WAYS]
        lines.append([row["structure"], *(f"{s['value']:.1%} [{s['low']:.1%}, {s['high']:.1%}]" for s in shares)])
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
        print(f"{number} threads, {options.repeats} rounds of {len(shop.steps())} steps ...", flush=True)
        take_turns = functools.partial(compare, repeats=options.repeats, warmup=1, min_time_ms=0.0, threads=number)
        steps = take_turns(shop.steps(), baseline=WITHOUT)
        found = rows(steps)
        print(table(found), flush=True)
        choices = take_turns(shop.options(), baseline=WITHOUT)
        print(choices, flush=True)
        measured = {"steps": steps, "options": choices}
        kept = {name: comparison.to_dict() for name, comparison in measured.items()}
        cases.append({"threads": number, "structures": found} | kept)
    record = {
        "format": FORMAT,
        "settings": {
            "batch": options.batch, "tokens": options.tokens, "max_grad_norm": 1.0, "optimiser": "AdamW, fused",
        },
        "model": shop.loaded.to_dict() | {"name": Path(options.model).name},  # of a folder its name alone
        "provenance": provenance(),
        "machine": machine_class(),
        "hardware": hardware().to_dict(),
        "cases": cases,
    }  # fmt: skip
    write_json(options.json, record)
    print(f"Recorded: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
