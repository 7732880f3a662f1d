"""Fill README.md and pages of the book with what was measured: the example's output, tables, and the picture.

`python -m tools.readme --measure` runs the example and keeps its output in book/results/readme-example.json; without it
the pages are written from the records alone, and `--check` only compares. No figure in them is typed by hand.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from blockprune_lib._common.files import write_json, write_whole
from tools import experiments_tables, explorer_speed, readme_picture, serving_page
from tools.markdown import table
from tools.readme_accuracy import accuracies
from tools.readme_short import speeds
from tools.readme_tables import tables

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
EXPERIMENTS = ROOT / "book" / "experiments.md"
SETTINGS = ROOT / "book" / "settings.md"
SERVE = ROOT / "book" / "serve-it.md"
BUILT = ROOT / "book" / "how-this-book-was-built.md"
PICTURE = ROOT / "book" / "images" / "whole-story.svg"
EXAMPLE = ROOT / "book" / "results" / "readme-example.json"
STORY = ROOT / "book" / "results" / "whole-story.json"


def example_code(readme: str) -> str:
    """Return the README's Python example."""
    found = re.search(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    if found is None:
        raise ValueError("README.md has no ```python block")
    return found.group(1)


def measure(code: str) -> dict[str, Any]:
    """Run the example in a process of its own and return its output with the machine that ran it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:  # the example saves a model
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    from blockprune_lib import hardware

    return {
        "code": code,
        "output": result.stdout.rstrip(),
        "hardware": hardware().to_dict(),
        "line": hardware().passport(),
    }


def figures(story: dict[str, Any]) -> str:
    """Return the table of measured figures, from the first chapter's record."""
    found, machine = story["figures"], story["hardware"]
    rows = dict[str, list[str]]()
    for name, row in found["latency"]["timings"].items():
        ratio = "{value:.2f} ({low:.2f} to {high:.2f})".format(**row["ratio"]) if name != "dense" else "1"
        size = found["megabytes"].get(name)
        label = {
            "dense": "dense",
            "dense, one call": "dense, by this library's kernels",
            "dense, one call, bfloat16": "dense, by this library's kernels, bfloat16",
            "dense, bfloat16": "dense, bfloat16",
            "dense, int8": "dense, int8 (torch's dynamic quantisation)",
            "unstructured": f"unstructured mask, rate {found['rate']:g}",
            "block": f"blocks ({found['structure']}), rate {found['rate']:g}, retrained",
            "block, bfloat16": "the same blocks in bfloat16",
        }[name]
        time = "{median_ms:.1f} ({q1_ms:.1f} to {q3_ms:.1f})".format(**row)
        rows[label] = [time, ratio, "" if size is None else f"{size:.1f}"]
    accuracy, (count, tokens) = found["accuracy"], found["batch"]
    head = (
        f"MiniLM, a batch of {count} sequences of {tokens} tokens, float32 where nothing else is said, "
        f"{found['latency']['threads']['torch']} threads, on {machine['cpu']} ({machine['isa']}), "
        f"{machine['date'][:10]}:"
    )
    columns = (
        "time, ms: median (quartiles)", "speed relative to dense (95 % interval)", "MB of the pruned matrices"
    )  # fmt: skip
    at_once = f", and then trained {accuracy['at once']:.1%}" if "at once" in accuracy else ""
    little = [
        f"by {way} {accuracy[key]:.1%}"
        for key, way in (("by size", "size"), ("by penalty", "the penalty"))
        if key in accuracy
    ]
    foot = (
        f"Accuracy on {found['sentences'][1]} held-out sentences ({found['text']}), one seed, seconds of training: "
        f"{accuracy['dense']:.1%} dense; cut at once {accuracy['cut at once']:.1%}{at_once}; cut little by little "
        f"{', '.join(little)}; the majority class scores {found['majority']:.1%}. From the record "
        "`book/results/whole-story.json`."
    )
    return "\n".join([head, "", *table(columns, rows), "", foot])


def filled(readme: str, example: dict[str, Any], story: dict[str, Any]) -> str:
    """Return the README's text with its measured regions rewritten from the records."""
    if example["code"] != example_code(readme):
        raise ValueError("the README's example has changed since it was run: python -m tools.readme --measure")
    output = f"```text\n{example['output']}\n```\n\nMachine: {example['line']}"
    measured = {"speeds": speeds(), "accuracies": accuracies(), "figures": figures(story), "benchmarks": tables()}
    return with_regions(readme, {"example": output, **measured})


def with_regions(page: str, regions: dict[str, str]) -> str:
    """Return a page with what stands between `<!-- name -->` and `<!-- /name -->` rewritten."""
    for name, text in regions.items():
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        page = f"{before}<!-- {name} -->\n{text}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
    return page


def picture(story: dict[str, Any]) -> str:
    """Return the front picture as SVG, drawn from the first chapter's record; readable on light and dark ground."""
    from blockprune_lib import plots

    found = story["figures"]
    rows = found["latency"]["timings"]
    order = ("dense", "unstructured", "dense, one call", "dense, bfloat16", "dense, one call, bfloat16", "dense, int8",
             "block", "block, bfloat16")  # fmt: skip
    names = [name for name in order if name in rows]
    with plots.canvas("light", (9, 3.6), columns=2) as (canvas, (left, right)):
        for place, name in enumerate(names):
            colour, row, size = plots.COLOURS[name.partition(",")[0]], rows[name], found["megabytes"].get(name)
            left.barh(place, row["median_ms"], color=colour)
            spread = [[row["median_ms"] - row["q1_ms"]], [row["q3_ms"] - row["median_ms"]]]
            left.errorbar(row["median_ms"], place, xerr=spread, color=plots.COLOURS["text"], capsize=4)
            left.text(row["q3_ms"], place, f"  {row['median_ms']:.0f} ms", va="center")
            if size is not None:
                right.barh(place, size, color=colour)
                right.text(size, place, f"  {size:.1f} MB", va="center")
        zeros = f"{found['zeros']:.0%}"
        told = {"unstructured": f"{zeros} zeros, one by one", "block": f"{zeros} gone, in blocks"}
        left.set_yticks(range(len(names)), [told.get(name, name) for name in names])
        left.set(xlabel="time for one batch (ms)", title="Time")
        right.set(xlabel="bytes of the pruned matrices (MB)", title="Size")
        right.set_yticks([])
        right.set_ylim(left.get_ylim())
        for axes in (left, right):
            axes.invert_yaxis()
            axes.margins(x=0.22)
        text = io.StringIO()
        canvas.savefig(text, format="svg", facecolor="white", metadata={"Date": None})
    return text.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Measure, write or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="run the example again and record its output")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where README.md differs")
    options = parser.parse_args(arguments)
    readme = README.read_text(encoding="utf-8")
    if options.measure:
        write_json(EXAMPLE, measure(example_code(readme)))
    story = json.loads(STORY.read_text(encoding="utf-8"))
    experiments, settings = EXPERIMENTS.read_text(encoding="utf-8"), SETTINGS.read_text(encoding="utf-8")
    built, serve = BUILT.read_text(encoding="utf-8"), SERVE.read_text(encoding="utf-8")
    speed = explorer_speed.sentence(json.loads(explorer_speed.RESULT.read_text(encoding="utf-8")))
    pages = {
        BUILT: (built, with_regions(built, {"explorer-speed": f"- {speed}"})),
        README: (readme, filled(readme, json.loads(EXAMPLE.read_text(encoding="utf-8")), story)),
        EXPERIMENTS: (experiments, with_regions(experiments, experiments_tables.regions())),
        SETTINGS: (settings, with_regions(settings, experiments_tables.settings_regions())),
        SERVE: (serve, with_regions(serve, serving_page.regions())),
    }
    if options.check:
        differ = [path.name for path, (before, after) in pages.items() if before != after]
        print(f"{', '.join(differ)}: differs, run python -m tools.readme" if differ else "The tables are up to date.")
        return int(bool(differ))
    for path, (_, after) in pages.items():
        write_whole(path, after.encode())
    write_whole(PICTURE, picture(story).encode())
    write_whole(readme_picture.PICTURE, readme_picture.picture().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
