"""The models of the study timed on the machine at hand, without training them: cut at once to the same structures.

`python -m tools.study_times` (about two minutes) times MiniLM in every way of WAYS on CoLA's sentences, one at a time,
and writes book/results/study-times-amx.json, by the class of the machine. A model that was pruned by size at once
stands for the trained one: kernels do the same for any groups of a structure, but in tiles of AMX, where a trained cut
of small groups may leave more tiles empty. The text comes from BLOCKPRUNE_GLUE_DIR or the Hub.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import blockprune_lib as bp
from blockprune_lib._common.files import write_json
from blockprune_lib._common.provenance import provenance
from blockprune_lib.bench.engine import UnavailableError, imported
from blockprune_lib.bench.export import export
from blockprune_lib.bench.with_openvino import HINTS, quantized, request_to
from blockprune_lib.bench.workload import LastHidden
from blockprune_lib.data import models, tasks
from blockprune_lib.experiments.latency import WHOLE, compiled_calls, sample
from blockprune_lib.experiments.serving import Inputs, run_all
from blockprune_lib.machine.passport import hardware
from blockprune_lib.machine.timing import compare
from blockprune_lib.pruning.depth import keep_layers_
from tools.benchmarks import machine_class

FORMAT = "blockprune study times, version 1"
RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
#: (structure, rate, layers or None) as the study's records have them; rate 1: dense. Blocks on three layers are last.
WAYS: tuple[tuple[str, float, int | None], ...] = (
    ("irregular", 1.0, None), ("irregular", 1.0, 3), ("irregular", 1.0, 2), ("block_column:4", 1.79, None),
    ("block_column:4", 3.0, None), ("block_column:4", 5.0, None), ("block_column:16", 5.0, None),
    ("block_row:64", 5.0, None), ("tile:32x32", 5.0, None), ("block_column:4", 2.5, 3),
)  # fmt: skip


class Logits(LastHidden):
    """A classifier's numbers, as every other engine here computes them."""

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run the whole model."""
        logits: Tensor = self.encoder(input_ids=ids, attention_mask=mask).logits
        return logits


def openvino_calls(model: Any, inputs: Inputs, folder: Path, threads: int) -> dict[str, Callable[[], object]]:
    """{engine: a call that runs all inputs} of a dense model in OpenVINO; int8 where NNCF is there."""
    path, core = folder / "model.onnx", imported("openvino").Core()
    names = [name for name in ("input_ids", "attention_mask") if name in inputs[0]]
    given = dict(zip(("ids", "mask"), (inputs[0][name] for name in names), strict=False))
    export(Logits(copy.deepcopy(model)), given, path)
    texts = [dict(zip(given, (one[name].numpy() for name in names), strict=False)) for one in inputs]
    graphs = {f"OpenVINO {hint}": (hint, core.read_model(path)) for hint in HINTS.values()}
    with contextlib.suppress(UnavailableError):
        graphs["OpenVINO int8"] = ("f32", quantized(core.read_model(path), texts))

    def run_texts(request: Any) -> None:
        for text in texts:
            request.infer(text)

    calls: dict[str, Callable[[], object]] = {}
    for name, (hint, graph) in graphs.items():
        with contextlib.suppress(UnavailableError):  # no bfloat16 on this processor
            calls[name] = partial(run_texts, request_to(core, graph, hint, threads))
    return calls


def engines_of(model: Any, structure: str, inputs: Inputs, folder: Path, threads: int, dense: bool) -> dict[str, Any]:
    """{engine: a call} for a plain model, pruned or not."""
    compiled = compiled_calls(model, WHOLE if dense else structure)
    found: dict[str, Any] = {
        f"compiled {'float32' if name == 'compiled' else 'bfloat16'}": partial(run_all, sparse, inputs)
        for name, sparse in compiled.items()
    }
    if dense:
        found["torch float32"] = partial(run_all, model, inputs)
        found["torch bfloat16"] = partial(run_all, copy.deepcopy(model).to(torch.bfloat16), inputs)
        found |= openvino_calls(model, inputs, folder, threads)
    return found


def measured(sentences: int, repeats: int, threads: int) -> dict[str, Any]:
    """The record: every way in every engine, all in turns."""
    task = tasks.load("cola")
    plain, tokenizer = models.load("minilm", task=task)
    inputs = sample(task, tokenizer, sentences, 128)
    calls: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (structure, rate, layers) in enumerate(WAYS):
            model, place = copy.deepcopy(plain).eval(), Path(folder, str(number))
            place.mkdir()
            if layers is not None:
                keep_layers_(model, layers)
            if rate > 1:
                bp.prune(model, bp.BlockStructure.parse(structure), rate)
            found = engines_of(model, structure, inputs, place, threads, dense=rate == 1)
            calls |= {f"{number}|{name}": call for name, call in found.items()}
        found = compare(calls, baseline="0|torch float32", repeats=repeats, warmup=2, threads=threads).to_dict()
    ways: list[dict[str, Any]] = [
        {"structure": structure, "rate": rate, "layers": layers, "engines": {}} for structure, rate, layers in WAYS
    ]
    for key, time in found["timings"].items():
        number, name = key.split("|")
        per_sentence = {part: time[part] / sentences for part in ("median_ms", "q1_ms", "q3_ms")}
        ways[int(number)]["engines"][name] = per_sentence | {"ratio": time["ratio"]}
    return {
        "format": FORMAT, "model": "minilm", "task": "cola", "sentences": sentences, "threads": threads,
        "tokens": float(np.mean([text["input_ids"].shape[1] for text in inputs])), "rounds": found["rounds"],
        "ways": ways, "hardware": hardware().to_dict(), "provenance": provenance(),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Take the record and print its times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULTS / f"study-times-{machine_class()}.json")
    options = parser.parse_args(arguments)
    record = measured(options.sentences, options.repeats, options.threads)
    write_json(options.json, record)
    for way in record["ways"]:
        what = f"{way['layers']} layers" if way["layers"] else f"{way['structure']} at {way['rate']:g}"
        for name, time in sorted(way["engines"].items(), key=lambda item: item[1]["median_ms"]):
            ratio = time["ratio"]
            print(f"{what:<24} {name:<18} {time['median_ms']:7.3f} ms  {ratio['value']:.2f} "
                  f"[{ratio['low']:.2f}, {ratio['high']:.2f}]")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
