"""Write book/api.md, the reference of the library's public names, from their docstrings; `--check` only compares."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import blockprune_lib as bp
from blockprune_lib._common.files import write_whole

PAGE = Path(__file__).resolve().parent.parent / "book" / "api.md"
#: Headings and the names under each, in the order of the book.
SECTIONS = {
    "The machine, and timing on it": ["hardware", "compare", "threads"],
    "Structure: one grid of groups": ["BlockStructure", "group_norms", "group_scores", "expand", "prunable"],
    "Penalty": ["ReweightedGroupLasso", "group_soft_threshold"],
    "Selection": ["select", "select_model", "apply_masks_"],
    "Packing and running": ["pack", "PackedMatrix", "linear"],
    "Weights and text": ["models.load", "tasks.load"],
    "Layers and files": [
        "BlockSparseLinear", "sparsify", "densify", "warm_up", "save", "load", "compression", "break_even_density"
    ],
    "A latency budget": [
        "budget", "nn.Budget", "nn.layer_costs", "nn.LayerCosts", "nn.Cut", "nn.candidates",
        "pruning.cheapest_choice",
    ],
    "Training": [
        "TrainingSettings", "fine_tune", "train_reweighted", "prune", "retrain", "prune_gradually", "evaluate",
    ],
    "Experiments": ["experiments.run", "experiments.plan"],
    "Explorers": [
        "widgets.BlockExplorer", "widgets.ReweightingExplorer", "widgets.RooflineExplorer", "widgets.KernelAnimation",
        "widgets.interact",
    ],
    "Exercises": ["check"],
}  # fmt: skip


def page() -> str:
    """Return the page's text."""
    parts = ["# The library", "What `import blockprune_lib as bp` offers, in the order of the book."]
    for heading, names in SECTIONS.items():
        parts.append(f"## {heading}")
        parts += [entry(name) for name in names]
    return "\n\n".join(parts) + "\n"


def entry(name: str) -> str:
    """Return one name's heading, signature and docstring; of a class, its public methods' too."""
    thing = bp
    for part in name.split("."):
        thing = getattr(thing, part)
    text = f"### `bp.{name}`\n\n" + _block(f"bp.{name}", thing)
    if inspect.isclass(thing):
        for method, member in vars(thing).items():
            target = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if not method.startswith("_") and inspect.isfunction(target) and inspect.getdoc(target):
                text += "\n\n" + _block(method, target)
    return text


def _block(label: str, thing: object) -> str:
    assert callable(thing)
    signature = str(inspect.signature(thing)).replace("'", "")
    return f"```text\n{label}{signature}\n\n{inspect.getdoc(thing)}\n```"


def main() -> int:
    """Write or check the page; return the exit status."""
    text = page()
    current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if "--check" in sys.argv[1:]:
        print("book/api.md is up to date." if text == current else "book/api.md differs: run python -m tools.api")
        return int(text != current)
    write_whole(PAGE, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
