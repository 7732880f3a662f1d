"""Time the products of another checkout of the library and of this one: `python -m tools.products OLD [--record FILE]`.

Forward (`bp.linear` without gradients) and training (forward, and backward to x and to the stored weights), a fifth of
the weights kept. Each checkout runs in a process of its own, on the same numbers, in turns; a turn begins with a call
that is not timed. A figure is new ÷ old of the medians, with the interval in which it lies 95 times in a hundred (a
bootstrap over rounds). Where the quartiles of either lie far apart, another program ran meanwhile: such a case is
measured again, and the calmest try counts. FILE grows: cases of the same two commits are added to it.
`NUMBA_CPU_NAME=haswell` times what a machine without AVX-512 would run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib._common.tables import text_table
from blockprune_lib.machine.passport import hardware
from blockprune_lib.machine.simd import LANES

from .versions import commit_of, environment, ratio

HERE = Path(__file__).resolve().parent.parent
SHAPES = ((768, 768), (3072, 768), (768, 3072), (384, 384), (1536, 384))
STRUCTURES = ("block_column:4", "block_column:8", "block_column:16", "block_column:32", "block_row:16", "block_row:32",
              "block_row:64", "tile:16x16", "tile:32x32", "irregular", "column", "row")  # fmt: skip
#: The number of tokens for all shapes, and the numbers for the first shape and some structures.
TOKENS, ALL_TOKENS = 128, (1, 4, 8, 16, 32, 128, 512, 2048)
SOME = ("block_column:4", "block_column:32", "block_row:16", "block_row:64", "tile:32x32", "irregular")
KINDS = ("forward", "training")
#: Seconds between two turns: by then the threads that waited for more work sleep, and leave the cores to the other.
PAUSE = 0.003
#: Quartiles of one case further apart than this ratio are measured again, so many times at most.
CALM, TRIES = 1.15, 4

#: A line {"shape", ..} sets a case up and answers [largest number, three sums]; a line of a number times so many calls.
WORKER = """
import json, sys, time
import torch
import blockprune_lib as bp
for line in sys.stdin:
    asked = json.loads(line)
    if isinstance(asked, dict):
        torch.set_num_threads(asked["threads"])
        (M, N), tokens, structure = asked["shape"], asked["tokens"], bp.BlockStructure.parse(asked["structure"])
        g = torch.Generator().manual_seed(0)
        weight, bias, x, grad, probe = (torch.randn(*sides, generator=g) for sides in
                                        ((M, N), (M,), (tokens, N), (tokens, M), (tokens, M)))
        weight[~bp.expand(bp.select(bp.group_scores(weight, structure), 5.0), structure, weight.shape)] = 0
        packed = bp.pack(weight, structure)
        if asked["what"] == "training":
            packed.values.requires_grad_()
            x.requires_grad_()
        def run():
            if not x.requires_grad:
                return bp.linear(x, packed, bias)
            x.grad = packed.values.grad = None
            y = bp.linear(x, packed, bias)
            y.backward(grad)
            return y
        y = run().detach()
        sums = [float(y.double().abs().max()), float((y.double() * probe).sum())]
        for part in (x.grad, packed.values.grad):
            sums.append(0.0 if part is None else float(part.double().square().sum().sqrt()))
        print(json.dumps(sums), flush=True)
    else:
        run()
        start = time.perf_counter()
        for _ in range(asked):
            run()
        print((time.perf_counter() - start) / asked, flush=True)
"""


class Worker:
    """The library of one checkout, in a process of its own."""

    def __init__(self, checkout: Path) -> None:
        if not (checkout / "blockprune_lib").is_dir():
            raise FileNotFoundError(f"OLD must be a checkout that holds blockprune_lib/; got {checkout}")
        own = environment(checkout)
        del own["OMP_WAIT_POLICY"]
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], env=own, cwd="/", text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def ask(self, what: Any) -> Any:
        """Its answer to one line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def cases(threads: list[int], kinds: list[str]) -> Iterator[dict[str, Any]]:
    """Every case, as a worker takes it."""
    for what in kinds:
        found = [(shape, text, TOKENS) for shape in SHAPES for text in STRUCTURES]
        found += [(SHAPES[0], text, tokens) for text in SOME for tokens in ALL_TOKENS if tokens != TOKENS]
        for shape, text, tokens in found:
            for count in threads:
                yield {"what": what, "shape": shape, "structure": text, "tokens": tokens, "threads": count}


def in_turns(workers: tuple[Worker, Worker], case: dict[str, Any], rounds: int) -> tuple[list[float], list[float]]:
    """(seconds of the old in each round, seconds of the new); who is first changes with each round."""
    first, second = (np.array(worker.ask(case)) for worker in workers)
    if not np.allclose(first, second, rtol=1e-4, atol=1e-3 * first[0]):
        raise ValueError(f"both checkouts must give the same answer to {case}; got {first} and {second}")
    calls = max(1, round(1e-3 / float(workers[1].ask(1))))
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            time.sleep(PAUSE)
            found[which].append(float(workers[which].ask(calls)))
    return found


def measured(workers: tuple[Worker, Worker], case: dict[str, Any], rounds: int) -> dict[str, Any]:
    """A case with its quartiles of milliseconds and the ratio of the medians, of the calmest try."""
    found: list[tuple[float, dict[str, Any]]] = []
    while not found or (found[-1][0] > CALM and len(found) < TRIES):
        old, new = in_turns(workers, case, rounds)
        quartiles = {name: [1e3 * float(q) for q in np.quantile(times, [0.25, 0.5, 0.75])]
                     for name, times in (("old_ms", old), ("new_ms", new))}  # fmt: skip
        apart = max(high / low for low, _, high in quartiles.values())
        found.append((apart, case | quartiles | {"ratio": ratio(old, new), "tries": len(found) + 1}))
    return min(found, key=lambda one: one[0])[1]


def write(record: Path, head: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Write the record, with the cases of an earlier one of the same commits."""
    before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    same = all(before.get(name) == value for name, value in head.items())
    about = {"provenance": provenance(), "hardware": hardware().to_dict()}
    write_json(record, head | {"cases": [*(before["cases"] if same else []), *found]} | about)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, record; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--record", type=Path, help="a JSON file to write")
    options = parser.parse_args(arguments)
    workers = (Worker(options.old), Worker(HERE))
    try:
        found = [measured(workers, case, options.rounds) for case in cases(options.threads, options.kinds)]
    finally:
        for worker in workers:
            worker.close()
    rows = [["", "threads", "tokens", "old, ms", "new, ms", "new / old [95 %]"]]
    for case in found:
        (M, N), of = case["shape"], case["ratio"]
        rows.append([f"{case['what']}, {M} x {N}, {case['structure']}", str(case["threads"]), str(case["tokens"]),
                     *(f"{case[name][1]:.4g}" for name in ("old_ms", "new_ms")),
                     f"{of['value']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"])  # fmt: skip
    print(text_table(rows))
    if options.record:
        head = {"format": "blockprune products, version 1", "old": commit_of(options.old), "new": commit_of(HERE),
                "density": 0.2, "rounds": options.rounds, "lanes": LANES}  # fmt: skip
        write(options.record, head, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
