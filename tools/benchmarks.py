"""Run the recorded benchmarks: each is one `blockprune bench` command, and its record goes to book/results/.

`python -m tools.benchmarks` runs all (about twenty minutes on two cores); with names, those. Quiet is up to you.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
STRUCTURES = ("block_column:16", "block_column:32", "block_column:64", "tile:16x16", "tile:32x32",
              "block_row:32", "block_row:64", "block_row:96")  # fmt: skip


def _each(flag: str, *values: object) -> list[str]:
    return [word for value in values for word in (flag, str(value))]


#: Name of a record -> the flags of the command that makes it.
RECIPES: dict[str, list[str]] = {
    # Share of the peak: every structure, shape and density, beside the dense product only.
    "bench-kernels": [*_each("--structure", *STRUCTURES), *_each("--density", 0.1, 0.2, 0.5, 1.0), "--peers", "none",
                      "--repeats", "15"],
    # Every way to run the same pruned matrix.
    "bench-rivals": [*_each("--structure", "block_column:16", "tile:32x32", "block_row:64"), "--rate", "5",
                     *_each("--threads", 1, 2), "--skip", "torch-compile", "--repeats", "15"],
    # Token counts that are no multiple of a tile.
    "bench-tokens": [*_each("--structure", "block_column:16", "block_row:64"), *_each("--shape", "768x768", "3072x768"),
                     *_each("--tokens", 1, 7, 32, 33, 64, 100, 128, 129, 512), "--peers", "none", "--repeats", "15"],
    # A whole encoder of BERT-base's shapes, and a training step of it.
    "bench-model": ["--model", "bert-base", *_each("--threads", 1, 2), "--memory", "--repeats", "15"],
    "bench-training": ["--model", "bert-base", "--training", *_each("--threads", 1, 2), "--repeats", "5"],
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that are named, or all; return the exit status."""
    from blockprune_lib.cli import main as blockprune

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*RECIPES, []], metavar="NAME", help=", ".join(RECIPES))
    for name in parser.parse_args(arguments).names or RECIPES:
        print(f"{name}: blockprune bench {' '.join(RECIPES[name])}", flush=True)
        status = blockprune(["bench", *RECIPES[name], "--json", str(RESULTS / f"{name}.json")])
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
