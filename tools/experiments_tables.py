"""Tables of book/experiments.md and book/settings.md: the register of methods, the recipes, recorded costs."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import torch

from blockprune_lib import experiments
from blockprune_lib.data.glue import TITLES
from blockprune_lib.experiments import paired, report
from blockprune_lib.experiments.alike import measure_of
from blockprune_lib.experiments.methods import METHODS
from blockprune_lib.experiments.presets import preset
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.pruning.zero_target import shrink_to_share_
from tools import stage_defaults
from tools.markdown import beside, table
from tools.readme_accuracy import STUDY
from tools.readme_short import CLASSES

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ("cola_minilm_irregular_dense_rate1", "cola_minilm_block_column-4_gradual_rate5",
          "cola_minilm_block_column-4_reweighted_rate5")  # fmt: skip
COST = ROOT / "book" / "results" / "penalty-cost.json"
#: Each way to apply the penalty that `tools.penalty_cost` times, as the page writes it.
WAYS = {"penalty": "`penalty`", "proximal": "`proximal`", "auto": "`lam: auto`"}
#: Models of the record, as the page writes them.
MODELS = {"minilm": "MiniLM"}
ROWS = ROOT / "book" / "results" / "study-rows.json"
FIRST_STUDY = "The book's first study: smaller, and most of it with one seed."


def regions() -> dict[str, str]:
    """Each generated region of book/experiments.md."""
    return {"methods": methods(), "recipes": recipes(), "report-sample": report_sample()}


def settings_regions() -> dict[str, str]:
    """Each generated region of book/settings.md."""
    cost = training_cost(json.loads(COST.read_text(encoding="utf-8")))
    return {"auto-example": auto_example(), "training-cost": cost} | stage_defaults.regions()


def report_sample() -> str:
    """What a report looks like: some columns of it, for the records of the study that share one task and structure."""
    paths = [path for part in SAMPLE for path in sorted(STUDY.glob(f"{part}_seed*.json"))]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    found = report.lines(records)
    size = records[0]["compression"]
    uncut = size["bytes_dense"] - size["pruned_bytes"][0]
    head = (
        f"Six columns of such a table, made of {len(paths)} records of the study: {TITLES[found[0].task]}, scored by "
        f"{measure_of(records[0])}, in groups of four, {len(found[0].scores)} seeds. *Dense* is the mean score of the "
        "models that were fine-tuned and not yet cut; the *method* `dense` has been trained on as long as the others. "
        f"*MB* is the whole model, of which {uncut / 1e6:.0f} MB, above all the word embeddings, are not cut."
    )
    rows = dict[str, list[str]]()
    for line in found:
        sure = "" if line.interval is None else "{:.2f} to {:.2f}".format(*line.interval)
        rows[line.method] = [f"{line.rate:g}", f"{line.mean:.3f}", sure, f"{line.dense:.3f}", f"{line.megabytes:.0f}"]
    columns = ["rate", "score", "95 %", "dense", "MB"]
    known = experiments.read_rows(ROWS)
    found_pairs = paired.differences(records, "gradual", text=False, recorded=known)
    (pair,) = [pair for pair in found_pairs if pair.method == "reweighted"]
    seeds, over_rows = (
        "{:+.1f} to {:+.1f}".format(*(100 * end for end in ends or (math.nan, math.nan)))
        for ends in (pair.seeds, pair.rows)
    )
    told = (
        f"With `--against gradual` it says: reweighted less gradual, {100 * pair.mean:+.1f} points, {seeds} over "
        f"seeds, {over_rows} over rows, **{pair.verdict}**."
    )
    return "\n".join([head, "", *table(columns, rows, names="method", cells="---:"), "", told])


def methods() -> str:
    """One line per method: its name and what it runs, with the page's mathematics and citations."""
    rows = dict[str, list[str]]()
    for method in METHODS.values():
        told = re.sub(r"alpha( = \d)?", r"$\\alpha\1$", method.meaning)
        told = told.replace("(Sanh et al. 2020)", "{cite:p}`sanh2020movement`")
        rows[f"`{method.name}`"] = [told]
    return "\n".join(table(["what it runs"], rows, names="`method`"))


def auto_example() -> str:
    """What one shrinking step of `lam: auto` leaves of four groups, with and without reweighting and `reach`."""
    norms, best = torch.tensor([[0.10, 0.12, 0.20, 1.00]]), preset("best", "")["reweight"]
    kinds = {"`reweighted`": None, "`group-lasso`": torch.ones_like(norms)}
    rows = dict[str, list[str]]()
    for reach, told in ((None, "every group pays"), (best["reach"], f"`reach: {best['reach']:g}`")):
        for method, alpha in kinds.items():
            left = {"w": norms.clone()}
            given = None if alpha is None else {"w": alpha}
            made = shrink_to_share_(left, BlockStructure.irregular(), 4 / 3, eps=best["eps"], alpha=given, reach=reach)
            shown = ["0" if each == 0 else f"{each:.2f}" for each in left["w"][0].tolist()]
            rows[f"{method}, {told}"] = [f"{made.strength['w']:.3g}", *shown]
    heads = ["$c$", *(f"{each:.2f}" for each in norms[0].tolist())]
    head = (
        "Four groups, with the norms in the head of the table, of which the smallest is to vanish "
        f"($\\varepsilon = {best['eps']:g}$). What one step leaves of their norms:"
    )
    return "\n".join([head, "", *table(heads, rows, cells="---:")])


def training_cost(record: dict[str, Any]) -> str:
    """What the penalty, frozen embeddings and bf16 do to a training step, with intervals."""
    settings, every = record["settings"], preset("best", "")["reweight"]["refresh_every"]
    threads = [case["threads"] for case in record["cases"]]
    heads = [f"{number} thread{'s' * (number > 1)}" for number in threads]
    head = (
        f"One training step of {MODELS[record['model']['name']]}, batches of {settings['batch']} with"
        f" {settings['tokens']} tokens, on {heads[0]} of {record['hardware']['cpu']} ({CLASSES[record['machine']]}),"
        f" {record['provenance']['date'][:10]}."
        f" All kinds of step took turns; medians of {record['cases'][0]['options']['rounds']} rounds, with 95 %"
        f" intervals (bootstrap over rounds), from `book/results/{COST.name}`. What each way to apply the penalty adds"
        " to a step: its gradient (`method: penalty`), its own step after each of the optimiser's (`method:"
        f" proximal`), or a step after every {every}th (`lam: auto` in the preset `best`: what one such step adds,"
        f" divided by {every}).{beside(record)}"
    )
    first, rows, unsure = record["cases"][0], dict[str, list[str]](), []
    for row in first["structures"]:
        shares = row["added_share"] | {"auto": {k: v / every for k, v in row["added_share"]["auto"].items()}}
        rows[f"`{row['structure']}`"] = [_share(shares[way]) for way in WAYS]
    for way, told in WAYS.items():
        shares = [row["added_share"][way] for row in first["structures"]]
        if all(share["low"] <= 0 <= share["high"] for share in shares):
            unsure.append(told)
    parts = [head, "\n".join(table([f"{told}, %" for told in WAYS.values()], rows, names="structure"))]
    if unsure:
        parts.append(f"No cost of {' or '.join(unsure)} is told from 0.")
    saved, options = dict[str, list[str]](), [case["options"] for case in record["cases"]]
    for name in [name for name in options[0]["timings"] if name != options[0]["baseline"]]:
        ratios = [option["timings"][name]["ratio"] for option in options]
        saved[name] = [f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" for ratio in ratios]
    parts += ["How many times as fast a step is with the options that may save time:"]
    return "\n\n".join([*parts, "\n".join(table(heads, saved, names="option"))])


def _share(share: dict[str, float]) -> str:
    return f"{_signed(share['value'])} ({_signed(share['low'])} to {_signed(share['high'])})"


def _signed(share: float) -> str:
    """A share in per cent with its sign, and 0.0 without one.

    >>> _signed(-0.0004), _signed(0.031)
    ('0.0', '+3.1')
    """
    text = f"{100 * share:+.1f}"
    return text[1:] if float(text) == 0 else text


def recipes() -> str:
    """One line per recipe: its file and its opening comment, flags in it as code; those of one comment in one line.

    The parts of the book's first study are told in a line as well, in the order in which they are run.
    """
    told = {path: _comment(path) for path in (ROOT / "recipes").glob("*.yaml")}

    def place(path: Path) -> tuple[str, str, str]:
        part = re.search(r", part (\d)", told[path])
        return "-".join(path.stem.split("-")[:2]), part[1] if part else "", path.stem

    rows = dict[str, list[str]]()
    for path in sorted(told, key=place):
        means = FIRST_STUDY if told[path].startswith("The book's first study") else told[path]
        rows.setdefault(means, []).append(f"`recipes/{path.name}`")
    lines = [f"| {', '.join(files)} | {means} |" for means, files in rows.items()]
    return "\n".join(["| recipe | what it is for |", "|---|---|", *lines])


def _comment(path: Path) -> str:
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return re.sub(r"(?<![`\w])--[a-z][\w-]*( \d[\d/]*)?", r"`\g<0>`", " ".join(comment))
