"""What each matrix costs, measured once, in a file that the later steps of `tools.latency_budgets` read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from blockprune_lib._common.files import read_json, write_json
from blockprune_lib.nn import LayerCosts, layer_costs
from blockprune_lib.nn.trial import candidates, linears_of

RATES = (1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}


def measured_once(place: Path, model: Any, tokens: int, threads: int, clock: str) -> LayerCosts:
    """The costs that `place` keeps, for all seeds: times depend on how many weights are kept, not on which."""
    words = model.config.vocab_size
    example = torch.randint(words // 2, words, (1, tokens), generator=torch.Generator().manual_seed(0))
    if not place.exists():
        write_json(place, as_json(layer_costs(
            model, candidates(rates=RATES), example={"input_ids": example}, threads=threads, clock=CLOCKS[clock],
        )))  # fmt: skip
    kept = read_json(place)
    ms: Any = {tuple(map(int, shape.split(" x "))): tuple(times) for shape, times in kept["ms"].items()}
    shapes: Any = {name: tuple(linear.weight.shape) for name, linear in linears_of(model).items()}
    found = LayerCosts(
        candidates(rates=RATES), ms, kept["rest_ms"], kept["plain_ms"], shapes, {"input_ids": example}, "float32",
        threads, kept["start"], CLOCKS[clock],
    )  # fmt: skip
    print(found, flush=True)
    return found


def as_json(costs: LayerCosts) -> dict[str, Any]:
    """What a file keeps of the costs."""
    ms = {f"{M} x {N}": list(times) for (M, N), times in costs.ms.items()}
    return {"cuts": [str(cut) for cut in costs.cuts], "ms": ms, "rest_ms": costs.rest_ms, "plain_ms": costs.plain_ms,
            "least_ms": costs.least_ms, "dense_ms": costs.dense_ms, "threads": costs.threads,
            "start": costs.start}  # fmt: skip
