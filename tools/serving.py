"""A text service under load, with the model dense, compiled and pruned: requests a second and how long they take.

`python -m tools.serving bert-base` (about ten minutes, on a quiet machine) writes
book/results/serve-bert-base-CLASS.json. The service is examples/serve.py, the load examples/load.py. Every variant is a
server of its own, all are started first, and take turns: one has the load, the others sleep; with clients, each answers
the same requests. The model has one thread, so that HTTP and the load have the other of two cores. How long a model
takes does not depend on what it learned: bert-base is drawn at random.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from blockprune_lib._common.files import read_json, write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib.machine.passport import hardware
from tools import markdown
from tools.benchmarks import machine_class, precisions
from tools.serving_engines import CUT, DENSE, OPENVINO, RATE, STRUCTURE, VARIANTS, WHOLE, model_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "book" / "results"
FORMAT = "blockprune serving, version 1"
MOST, PERCENTILES = 32, (50, 95, 99)
#: A p99 of fewer requests rests on fewer than ten.
FOR_P99 = 1000
#: Texts that are compared with the dense model's answers.
COMPARED = 32


def serve(name: str, variant: str, port: int, threads: int) -> None:
    """One server, in this process, until it is ended."""
    import torch
    import uvicorn

    import blockprune_lib as bp
    from examples.serve import classifier, make_app

    what, precision = VARIANTS[variant]
    torch.set_num_threads(threads)
    model, tokenizer = model_of(name, what, precision, threads), bp.models.load("minilm").tokenizer
    if what in (WHOLE, CUT):
        bp.warm_up(model)
    uvicorn.run(make_app(classifier(model, tokenizer), most=MOST), port=port, log_level="error")


@contextlib.contextmanager
def servers(name: str, variants: list[str], threads: int) -> Iterator[dict[str, str]]:
    """{variant: its address}, each ready; ended after the block."""
    running, found = [], {}
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    try:
        for variant in variants:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [sys.executable, "-m", "tools.serving", name, "--serve", variant, str(port), str(threads)]
            running.append(subprocess.Popen(command, cwd=ROOT, env=environment))
            found[variant] = f"http://127.0.0.1:{port}"
        for process, address in zip(running, found.values(), strict=True):
            wait_until_ready(address, process)
        yield found
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(10)


def wait_until_ready(address: str, process: subprocess.Popen[bytes], seconds: float = 240.0) -> None:
    """Return once the service answers; raises RuntimeError where it ended or took too long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/ready", timeout=5):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the service at {address} did not come up in {seconds:.0f} s")


def measure(addresses: Mapping[str, str], texts: list[str], loads: list[dict[str, Any]], rounds: int) -> list[Any]:
    """For each kind of load, what each variant answered: rounds in which each has one turn, in an order drawn anew.

    One more round goes before them and is not counted: engines prepare themselves for the shapes that they see.
    """
    from examples.load import Load, closed, open_ended

    draw, found = random.Random(0), []
    for load in loads:
        runs: dict[str, list[Load]] = {variant: [] for variant in addresses}
        for _ in range(1 + rounds):
            texts = draw.sample(texts, len(texts))
            for variant in draw.sample(list(addresses), len(addresses)):
                url = f"{addresses[variant]}/classify"
                if "clients" in load:
                    asked = closed(url, texts, float("inf"), load["clients"], load["requests"])
                else:
                    asked = open_ended(url, texts, load["seconds"], load["rate"])
                with ThreadPoolExecutor(1) as own:  # where the caller has an event loop already, a thread has none
                    runs[variant].append(own.submit(asyncio.run, asked).result())
        variants = {name: summary(of[1:]) for name, of in runs.items()}
        found.append({"load": load, "rounds": rounds, "provenance": provenance(), "variants": variants})
        print(table(found[-1]), flush=True)
    return found


def summary(runs: list[Any]) -> dict[str, Any]:
    """Requests a second by round; percentiles over the requests of all rounds, and of each round."""
    times = np.array([one for run in runs for one in run.times]) * 1e3
    return {
        "per_second": spread([run.per_second for run in runs]),
        "ms": {f"p{share}": float(np.percentile(times, share)) for share in PERCENTILES},
        "ms_by_round": {f"p{share}": spread([run.percentile(share) for run in runs]) for share in PERCENTILES},
        "answered": len(times),
        "failed": sum(run.failed for run in runs),
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Median, quartiles and all values."""
    low, median, high = (float(end) for end in np.percentile(values, (25, 50, 75)))
    return {"median": median, "q1": low, "q3": high, "values": values}


def table(case: Mapping[str, Any]) -> str:
    """One kind of load, as Markdown; p99 only where every variant answered enough requests."""
    rows, variants = dict[str, list[str]](), case["variants"]
    enough = min(found["answered"] for found in variants.values()) >= FOR_P99
    shares = [share for share in PERCENTILES if share < 99 or enough]
    for name, found in variants.items():
        rate, ms = found["per_second"], found["ms"]
        rows[_short(name)] = [
            f"{rate['median']:.0f}",
            to_rival(variants, name),
            *(f"{ms[f'p{share}']:.{1 if ms[f'p{share}'] < 100 else 0}f}" for share in shares),
        ]
    columns = ["per s", f"to {rival_of(variants).split(', ')[1]}", *(f"p{share}, ms" for share in shares)]
    return "\n".join(markdown.table(columns, rows, names="engine", cells="---:"))


def rival_of(variants: Mapping[str, Any]) -> str:
    """What the others are compared with: OpenVINO where it was run, else PyTorch."""
    return OPENVINO if any(name.startswith(OPENVINO) for name in variants) else DENSE


def to_rival(variants: Mapping[str, Any], name: str) -> str:
    """Requests a second as a ratio to the rival's of the same precision and round: the median, and its whole range.

    Rounds are few, too few for quartiles. Empty where the rival was not run.
    """
    against = f"{rival_of(variants)}, {name.rpartition(', ')[2]}"
    rival = variants.get(against)
    if rival is None or name == against:
        return "" if rival is None else "1"
    own, other = variants[name]["per_second"]["values"], rival["per_second"]["values"]
    ratios = [one / of for one, of in zip(own, other, strict=True)]
    return f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _short(name: str) -> str:
    """A variant as the head of its row."""
    for long, short in ((CUT, "cut"), (WHOLE, "one call"), ("dense, ", ""), ("float32", "f32"), ("bfloat16", "bf16")):
        name = name.replace(long, short)
    return name


def differences(addresses: Mapping[str, str], texts: list[str]) -> dict[str, float]:
    """The largest difference of a score from the dense model's, of the variants that cut nothing."""
    scores = {}
    for variant, address in addresses.items():
        if VARIANTS[variant][0] != CUT:
            scores[variant] = np.array([_score(address, text) for text in texts])
    first = next(iter(scores.values()))
    return {variant: float(np.abs(found - first).max()) for variant, found in scores.items()}


def _score(address: str, text: str) -> float:
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(f"{address}/classify", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return float(json.load(answer)["score"])


def sentences(count: int) -> tuple[list[str], dict[str, Any]]:
    """Sentences of SST-2's validation rows and what is known of them: (texts, {name, source, tokens})."""
    from blockprune_lib import models, tasks

    found = tasks.load("sst2", train=1, validation=count, verbose=False)
    texts = list(found.validation[found.text[0]])
    lengths = [len(ids) for ids in models.load("minilm").tokenizer(texts)["input_ids"]]
    told = {"name": "sst2", "source": found.source, "count": len(texts), "mean": float(np.mean(lengths))}
    return texts, told | {"shortest": min(lengths), "longest": max(lengths)}


def main(arguments: list[str] | None = None) -> int:
    """Serve, or measure and write the record; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="bert-base, distilbert-base or minilm")
    parser.add_argument("--serve", nargs=3, metavar=("VARIANT", "PORT", "THREADS"), help=argparse.SUPPRESS)
    parser.add_argument("--clients", type=int, action="append", help="may be repeated; default: 1 and 16")
    parser.add_argument("--rate", type=float, action="append", help="requests a second; may be repeated")
    parser.add_argument("--requests", type=int, default=400, help="of one turn with --clients")
    parser.add_argument("--seconds", type=float, default=30.0, help="of one turn with --rate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), help="may be repeated; default: all")
    parser.add_argument("--extend", action="store_true", help="add to the cases of the record that is there")
    options = parser.parse_args(arguments)
    if options.serve:
        variant, port, threads = options.serve
        serve(options.model, variant, int(port), int(threads))
        return 0
    variants = options.variant or [name for name, (_, precision) in VARIANTS.items() if precision in precisions()]
    texts, told = sentences(872)
    many: list[int] = options.clients or ([] if options.rate else [1, 16])
    loads = [{"clients": number, "requests": options.requests} for number in many]
    loads += [{"rate": number, "seconds": options.seconds} for number in options.rate or ()]
    with servers(options.model, variants, options.threads) as addresses:
        differ = differences(addresses, texts[:COMPARED])
        cases = measure(addresses, texts, loads, options.rounds)
    file = RESULTS / f"serve-{options.model}-{machine_class()}.json"
    earlier = read_json(file)["cases"] if options.extend else []
    record = {
        "format": FORMAT, "model": options.model, "text": told, "threads": options.threads, "most": MOST,
        "structure": STRUCTURE, "rate": RATE, "differences": differ, "provenance": provenance(),
        "hardware": hardware().to_dict(), "cases": earlier + cases,
    }  # fmt: skip
    write_json(file, record)
    print(f"Recorded: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
