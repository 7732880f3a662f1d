"""Time the products of another checkout of the library and of this one: `python -m tools.products OLD [--record FILE]`.

Both run in this process, in turns, on the same weights: forward (`bp.linear` without gradients) and training (forward,
and backward to x and to the stored weights). A fifth of the weights is kept. A figure is new ÷ old of the medians, with
the interval in which it lies 95 times in a hundred (a bootstrap over rounds).
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numba import config

import blockprune_lib
from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib._common.tables import text_table
from blockprune_lib.machine.passport import hardware
from blockprune_lib.machine.simd import LANES

from .versions import commit_of, ratio

SHAPES = ((768, 768), (3072, 768), (768, 3072), (384, 384), (1536, 384))
STRUCTURES = ("block_column:4", "block_column:8", "block_column:16", "block_column:32", "block_row:16", "block_row:32",
              "block_row:64", "tile:16x16", "tile:32x32", "irregular", "column", "row")  # fmt: skip
#: The number of tokens for all shapes, and the numbers for the first shape and some structures.
TOKENS, ALL_TOKENS = 128, (1, 4, 8, 16, 32, 128, 512, 2048)
SOME = ("block_column:4", "block_column:32", "block_row:16", "block_row:64", "tile:32x32", "irregular")
#: Seconds that one round of one side takes at least, so that the clock's own error does not count.
ROUND = 1e-3

Case = tuple[tuple[int, int], str, int, str]


def library_at(checkout: Path) -> ModuleType:
    """The package of another checkout under a name of its own; its modules import each other relatively.

    From now on this process keeps machine code in a folder of its own: what is kept knows that name.
    """
    folder = checkout.resolve() / "blockprune_lib"
    spec = importlib.util.spec_from_file_location("blockprune_before", folder / "__init__.py",
                                                  submodule_search_locations=[str(folder)])  # fmt: skip
    if spec is None or spec.loader is None or not folder.is_dir():
        raise FileNotFoundError(f"OLD must be a checkout that holds blockprune_lib/; got {checkout}")
    config.CACHE_DIR = tempfile.mkdtemp(prefix="blockprune-products-")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases() -> Iterator[Case]:
    """(shape, structure, tokens, what)."""
    for what in ("forward", "training"):
        for shape in SHAPES:
            yield from ((shape, text, TOKENS, what) for text in STRUCTURES)
        for text in SOME:
            yield from ((SHAPES[0], text, tokens, what) for tokens in ALL_TOKENS if tokens != TOKENS)


def jobs(libraries: tuple[Any, Any], case: Case) -> list[Callable[[], Any]]:
    """The same product by each library. Raises ValueError where their answers differ."""
    shape, text, tokens, what = case
    structure = blockprune_lib.BlockStructure.parse(text)
    generator = torch.Generator().manual_seed(0)
    weight, bias, x, grad = (torch.randn(*sides, generator=generator)
                             for sides in (shape, shape[:1], (tokens, shape[1]), (tokens, shape[0])))  # fmt: skip
    keep = blockprune_lib.select(blockprune_lib.group_scores(weight, structure), 5.0)
    weight[~blockprune_lib.expand(keep, structure, shape)] = 0
    return [_job(library, weight, text, x, bias, grad, what) for library in libraries]


def _job(library: Any, weight: torch.Tensor, text: str, x: torch.Tensor, bias: torch.Tensor, grad: torch.Tensor,
         what: str) -> Callable[[], Any]:  # fmt: skip
    packed = library.pack(weight, library.BlockStructure.parse(text))
    if what == "forward":
        return lambda: library.linear(x, packed, bias)
    packed.values.requires_grad_()
    own = x.clone().requires_grad_()

    def step() -> Any:
        own.grad = packed.values.grad = None
        library.linear(own, packed, bias).backward(grad)
        return packed.values.grad

    return step


def in_turns(pair: list[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """[seconds of the old in each round, seconds of the new]; who is first changes with each round."""
    first, second = (job() for job in pair)
    worst = float((first - second).detach().abs().max()) / max(float(first.detach().abs().max()), 1e-9)
    if worst > 1e-4:
        raise ValueError(f"the two checkouts must give the same answer; they differ by {worst:.2g} of the largest")
    start = time.perf_counter()
    pair[1]()
    calls = max(1, round(ROUND / (time.perf_counter() - start)))
    found: list[list[float]] = [[], []]
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            for _ in range(calls):
                pair[which]()
            found[which].append((time.perf_counter() - start) / calls)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, record; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--record", type=Path, help="a JSON file to write")
    options = parser.parse_args(arguments)
    libraries = (library_at(options.old), blockprune_lib)
    rows = [["", "threads", "tokens", "old, ms", "new, ms", "new / old [95 %]"]]
    found: list[dict[str, Any]] = []
    for case in cases():
        (M, N), text, tokens, what = case
        pair = jobs(libraries, case)
        for threads in options.threads:
            torch.set_num_threads(threads)
            old, new = in_turns(pair, options.rounds)
            of = ratio(old, new)
            figures = {name: [1e3 * float(q) for q in np.quantile(times, [0.25, 0.5, 0.75])]
                       for name, times in (("old_ms", old), ("new_ms", new))}  # fmt: skip
            found.append({"shape": [M, N], "structure": text, "tokens": tokens, "what": what, "threads": threads,
                          "ratio": of, **figures})  # fmt: skip
            medians = [f"{figures[name][1]:.4g}" for name in ("old_ms", "new_ms")]
            interval = f"{of['value']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"
            rows.append([f"{what}, {M} x {N}, {text}", str(threads), str(tokens), *medians, interval])
    print(text_table(rows))
    if options.record:
        head = {"format": "blockprune products, version 1", "old": commit_of(options.old), "new": commit_of(Path()),
                "density": 0.2, "rounds": options.rounds, "lanes": LANES}  # fmt: skip
        write_json(
            options.record, head | {"cases": found, "provenance": provenance(), "hardware": hardware().to_dict()}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
