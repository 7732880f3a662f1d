"""Time two checkouts of the library side by side: `python -m tools.versions OLD NEW [--record FILE]`.

What a user waits for: importing the package, the first product of a process, a small product, a training step. Both
checkouts run in this interpreter's environment, in processes of their own, in turns; a figure is new ÷ old of the
medians, with the interval in which the ratio of two rounds lies 95 times in a hundred (a bootstrap over rounds).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np

from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib._common.tables import text_table
from blockprune_lib.machine import hardware

#: Each in a process of its own: printed seconds.
FRESH = {
    "import": "import time; t = time.perf_counter(); import blockprune_lib; print(time.perf_counter() - t)",
    "first product": (
        "import torch, time; t = time.perf_counter(); import blockprune_lib as bp; "
        "p = bp.pack(torch.eye(64), bp.BlockStructure.block_column(16)); bp.linear(torch.ones(8, 64), p); "
        "print(time.perf_counter() - t)"
    ),
}
#: In one process for each checkout: set up once, then call `run()` as often as asked.
LASTING = """
import sys, time, json
import torch
import blockprune_lib as bp
torch.manual_seed(0); torch.set_num_threads(1)
weight = torch.randn(64, 64)
s = bp.BlockStructure.block_column(16)
weight[~bp.expand(bp.select(bp.group_scores(weight, s), 5.0), s, weight.shape)] = 0
packed, x = bp.pack(weight, s), torch.randn(8, 64)
layer = bp.BlockSparseLinear.from_packed(packed).eval()
model = torch.nn.Sequential(*[torch.nn.Linear(384, 384) for _ in range(8)])
pen = bp.ReweightedGroupLasso(model, bp.BlockStructure.block_row(64))
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
batch = torch.randn(256, 384)
sparse = torch.nn.Sequential(*[
    bp.BlockSparseLinear(384, 384, s, keep=torch.rand(s.grid((384, 384))) < 0.2) for _ in range(8)])
sparse_optimiser = torch.optim.AdamW(sparse.parameters(), lr=1e-4)
def product():
    with torch.inference_mode():
        bp.linear(x, packed)
def in_a_layer():
    with torch.inference_mode():
        layer(x)
def penalised():
    optimiser.zero_grad(); model(batch).square().mean().backward(); pen.add_gradient_(); optimiser.step()
def on_the_support():
    sparse_optimiser.zero_grad(); sparse(batch).square().mean().backward(); sparse_optimiser.step()
JOBS = {"product of 64 x 64, 8 tokens": (product, 2000), "the same in a layer": (in_a_layer, 2000),
        "training step with the penalty": (penalised, 6), "training step on the sparse support": (on_the_support, 20)}
for line in sys.stdin:
    run, calls = JOBS[line.strip()]
    run(); t = time.perf_counter()
    for _ in range(calls):
        run()
    print((time.perf_counter() - t) / calls, flush=True)
"""
JOBS = ("product of 64 x 64, 8 tokens", "the same in a layer", "training step with the penalty",
        "training step on the sparse support")  # fmt: skip


def environment(checkout: Path) -> dict[str, str]:
    """Variables that make a process import the library from *checkout*, with a kernel cache of its own."""
    caches = {"NUMBA_CACHE_DIR": str(checkout.resolve() / ".numba-cache")}
    return os.environ | caches | {"PYTHONPATH": str(checkout.resolve()), "OMP_WAIT_POLICY": "PASSIVE"}


def in_turns(old: Path, new: Path, rounds: int) -> dict[str, list[list[float]]]:
    """{figure: [seconds of the old in each round, seconds of the new]}; who is first changes with each round."""
    places = (old, new)
    found: dict[str, list[list[float]]] = {name: [[], []] for name in (*FRESH, *JOBS)}
    for name, code in FRESH.items():
        for number in range(-1, rounds):  # the first round fills caches
            for which in (0, 1) if number % 2 else (1, 0):
                words = [sys.executable, "-c", code]
                done = subprocess.run(
                    words, env=environment(places[which]), cwd="/", check=True, stdout=subprocess.PIPE
                )
                if number >= 0:
                    found[name][which].append(float(done.stdout))
    workers = [subprocess.Popen([sys.executable, "-c", LASTING], env=environment(place), cwd="/", text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE) for place in places]  # fmt: skip
    try:
        for number in range(-1, rounds):
            for name in JOBS:
                for which in (0, 1) if number % 2 else (1, 0):
                    seconds = _ask(workers[which], name)
                    if number >= 0:
                        found[name][which].append(seconds)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return found


def _ask(worker: subprocess.Popen[str], job: str) -> float:
    into: IO[str] | None = worker.stdin
    assert into is not None
    assert worker.stdout is not None
    into.write(job + "\n")
    into.flush()
    return float(worker.stdout.readline())


def ratio(old: list[float], new: list[float]) -> dict[str, float]:
    """new ÷ old of the medians, with its 95 % interval."""
    draws = np.random.default_rng(0).integers(0, len(old), (2000, len(old)))
    ratios = np.median(np.array(new)[draws], axis=1) / np.median(np.array(old)[draws], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {"value": float(np.median(new) / np.median(old)), "low": float(low), "high": float(high)}


def commit_of(checkout: Path) -> str:
    """The commit that a checkout is at."""
    words = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, record; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--record", type=Path, help="a JSON file to write")
    options = parser.parse_args(arguments)
    found = in_turns(options.old, options.new, options.rounds)
    rows = [["", "old, ms", "new, ms", "new / old [95 %]"]]
    cases: dict[str, Any] = {}
    for name, (old, new) in found.items():
        of = ratio(old, new)
        cases[name] = {"old_ms": 1e3 * float(np.median(old)), "new_ms": 1e3 * float(np.median(new)), "ratio": of}
        rows.append([name, f"{cases[name]['old_ms']:.4g}", f"{cases[name]['new_ms']:.4g}",
                     f"{of['value']:.3f} [{of['low']:.3f}, {of['high']:.3f}]"])  # fmt: skip
    print(text_table(rows))
    if options.record:
        about = {"old": commit_of(options.old), "new": commit_of(options.new), "rounds": options.rounds}
        head = {"format": "blockprune versions, version 1", **about}
        write_json(
            options.record, head | {"cases": cases, "provenance": provenance(), "hardware": hardware().to_dict()}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
