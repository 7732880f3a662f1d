"""Tables of book/experiments.md, from the record of `tools.penalty_cost`, the register of methods and the recipes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from blockprune_lib.experiments import paired, report
from blockprune_lib.experiments.methods import METHODS
from tools import stage_defaults
from tools.markdown import table
from tools.readme_accuracy import STUDY

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ("cola_minilm_irregular_dense_rate1", "cola_minilm_block_column-4_gradual_rate5",
          "cola_minilm_block_column-4_reweighted_rate5")  # fmt: skip
COST = ROOT / "book" / "results" / "penalty-cost.json"


def regions() -> dict[str, str]:
    """Each generated region of the page."""
    cost = training_cost(json.loads(COST.read_text(encoding="utf-8")))
    found = {"methods": methods(), "training-cost": cost, "recipes": recipes(), "report-sample": report_sample()}
    return found | stage_defaults.regions()


def report_sample() -> str:
    """What a report looks like: some columns of it, for the records of the study that share one task and structure."""
    paths = [path for part in SAMPLE for path in sorted(STUDY.glob(f"{part}_seed*.json"))]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    found = report.lines(records)
    size = records[0]["compression"]
    uncut = size["bytes_dense"] - size["pruned_bytes"][0]
    head = (
        f"Such a table, less some of its columns, from {len(paths)} records of `book/results/study`: {found[0].task}, "
        f"{found[0].metric}, groups `block_column:4`, {len(found[0].scores)} seeds; the majority class scores "
        f"{found[0].majority:g}. *Dense* is the mean score of the models that were fine-tuned and not yet cut; the "
        "*method* dense has been trained on as long as the others. *MB* is the whole model, of which "
        f"{uncut / 1e6:.0f} MB, above all the word embeddings, are not cut."
    )
    rows = dict[str, list[str]]()
    for line in found:
        sure = "" if line.interval is None else "{:.2f} to {:.2f}".format(*line.interval)
        rows[line.method] = [f"{line.rate:g}", f"{line.mean:.3f}", sure, f"{line.dense:.3f}", f"{line.megabytes:.0f}"]
    columns = ["rate", "score", "95 %", "dense", "MB"]
    (pair,) = [pair for pair in paired.differences(records, "gradual") if pair.method == "reweighted"]
    low, high = (100 * end for end in pair.seeds or (math.nan, math.nan))
    told = (
        f"With `--against gradual` it says: reweighted less gradual, {100 * pair.mean:+.1f} points, "
        f"{low:+.1f} to {high:+.1f} over seeds, **{pair.verdict}**."
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


def training_cost(record: dict[str, Any]) -> str:
    """What the penalty, frozen embeddings and bf16 do to a training step, with intervals."""
    machine, settings = record["hardware"], record["settings"]
    threads = [case["threads"] for case in record["cases"]]
    heads = [f"{number} thread{'s' * (number > 1)}" for number in threads]
    head = (
        f"One training step of {record['model']['name']}, batches of {settings['batch']} with {settings['tokens']}"
        f" tokens, measured side by side on {machine['cpu']} ({machine['isa']}), {record['provenance']['date'][:10]}."
        f" Medians of {record['cases'][0]['options']['rounds']} rounds, with 95 % intervals (bootstrap over rounds),"
        f" from `book/results/{COST.name}`. What the penalty's gradient adds, for `method: penalty`; `proximal` takes a"
        " step of its own instead, which this record does not have:"
    )
    added, saved = dict[str, list[str]](), dict[str, list[str]]()
    for rows in zip(*(case["structures"] for case in record["cases"]), strict=True):
        shares = [row["added_share"] for row in rows]
        cells = [f"{_signed(s['value'])} % ({_signed(s['low'])} to {_signed(s['high'])})" for s in shares]
        added[f"`{rows[0]['structure']}`"] = cells
    options = [case["options"] for case in record["cases"]]
    for name in [name for name in options[0]["timings"] if name != options[0]["baseline"]]:
        ratios = [option["timings"][name]["ratio"] for option in options]
        saved[name] = [f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" for ratio in ratios]
    unsure = [
        head
        for head, case in zip(heads, record["cases"], strict=True)
        if all(row["added_share"]["low"] <= 0 <= row["added_share"]["high"] for row in case["structures"])
    ]
    verdict = [f"On {' and '.join(unsure)} no difference is told from 0.", ""] if unsure else []
    between = ["", *verdict, "How many times as fast a step is with the options that may save time:", ""]
    costs, gains = table(heads, added, names="structure"), table(heads, saved, names="option")
    return "\n".join([head, "", *costs, *between, *gains])


def _signed(share: float) -> str:
    """A share in per cent with its sign, and 0.0 without one.

    >>> _signed(-0.0004), _signed(0.031)
    ('0.0', '+3.1')
    """
    text = f"{100 * share:+.1f}"
    return text[1:] if float(text) == 0 else text


def recipes() -> str:
    """One line per recipe: its file and its opening comment, flags in it as code; parts of a study in their order."""
    lines = ["| recipe | what it is for |", "|---|---|"]
    told = {path: _comment(path) for path in (ROOT / "recipes").glob("*.yaml")}

    def place(path: Path) -> tuple[str, str, str]:
        part = re.search(r", part (\d)", told[path])
        return "-".join(path.stem.split("-")[:2]), part[1] if part else "", path.stem

    return "\n".join([*lines, *(f"| `recipes/{path.name}` | {told[path]} |" for path in sorted(told, key=place))])


def _comment(path: Path) -> str:
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return re.sub(r"(?<![`\w])--[a-z][\w-]*( \d[\d/]*)?", r"`\g<0>`", " ".join(comment))
