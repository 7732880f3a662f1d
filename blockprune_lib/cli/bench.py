"""`blockprune bench`: block-sparse layers against every off-the-shelf way to run the same pruned matrix or model.

The flags are those of `benchmarks.bench_matrices`, `bench_model` and `bench_training` as text. Left out: what they do.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELP = "time block-sparse layers against off-the-shelf engines: one matrix, or a whole model"
DESCRIPTION = """Time block-sparse layers on this machine against every off-the-shelf way to run the same pruned matrix.

  blockprune bench                               three matrices of BERT-base, one thread
  blockprune bench --shape 1024x4096 --structure tile:32x32 --density 0.1 --threads 4
  blockprune bench --model bert-base             a whole encoder (freshly drawn weights, no download)
  blockprune bench --model minilm --training     a step of masked retraining
  blockprune bench --json FILE --plot FILE.svg   keep every sample with its provenance, and draw it
  blockprune bench --from FILE                   print a record again without measuring

Every engine's answer is compared with the right one before it is timed. Engines take turns, and so does a burst of
multiply-adds that says what the machine could do in the same seconds. Engines that are not installed are named:
pip install 'blockprune-lib[peers]' installs them. Flags marked * may be repeated; every combination is a case."""
ENGINES = (
    "torch-bf16, torch-compile, onnxruntime, openvino, openvino-bf16, torch-csr, torch-bsr, torch-bsr-linear, "
    "scipy-csr, scipy-bsr"
)
#: Flags that say what to measure; they make no sense beside --from.
MEASURING = (
    "shape", "structure", "density", "rate", "tokens", "threads", "repeats", "peers", "skip", "seed", "model",
    "batch", "training", "memory", "json",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--shape",
        action="append",
        type=_shape,
        metavar="MxN",
        help="* outputs x inputs of a matrix (default: 768x768, 3072x768 and 768x3072)",
    )
    what.add_argument(
        "--model",
        metavar="NAME",
        help="a whole encoder instead: bert-base, roberta-base, distilbert-base (weights drawn anew), minilm, or a "
        "folder",
    )
    what.add_argument(
        "--structure",
        action="append",
        metavar="TEXT",
        help="* irregular, block_row:WIDTH, block_column:HEIGHT, tile:HEIGHTxWIDTH, row or column (default: "
        "block_column:16)",
    )
    share = what.add_mutually_exclusive_group()
    share.add_argument("--density", action="append", type=_density, metavar="D", help="* share of groups kept, 0 to 1")
    share.add_argument(
        "--rate", action="append", type=_number, metavar="R", help="* all groups / kept groups (default: 5)"
    )
    what.add_argument("--tokens", action="append", type=_whole, metavar="T", help="* tokens a sequence (default: 128)")
    what.add_argument(
        "--batch",
        action="append",
        type=_whole,
        metavar="B",
        help="* sequences, with --model (default: 1, with --training 8)",
    )
    what.add_argument(
        "--training",
        action="store_true",
        default=None,
        help="with --model: a training step, dense with masks held against block-sparse",
    )
    what.add_argument(
        "--memory",
        action="store_true",
        default=None,
        help="with --model: bytes of the dense and the sparse model, each in its own process",
    )
    how = parser.add_argument_group("how to measure")
    how.add_argument(
        "--threads",
        action="append",
        type=_whole,
        metavar="N",
        help="* threads of every engine; SciPy always uses one (default: 1)",
    )
    how.add_argument("--repeats", type=_whole, metavar="N", help="rounds, 3 or more (default: 30)")
    how.add_argument(
        "--peers",
        metavar="LIST",
        help=f"all, none, or engines separated by commas: {ENGINES} (default: all; models have the dense ones)",
    )
    how.add_argument(
        "--skip",
        metavar="LIST",
        help="engines to leave out: torch-bsr-linear is slow, torch-compile takes long to compile",
    )
    how.add_argument("--seed", type=_whole_or_zero, metavar="N", help="of weights, tokens and turns (default: 0)")
    out = parser.add_argument_group("what to do with it")
    out.add_argument("--json", metavar="FILE", help="write the record: every sample, versions, machine, commit, flags")
    out.add_argument("--plot", metavar="FILE", help="draw useful GFLOP/s with the peak as roof line: .svg or .png")
    out.add_argument("--from", dest="source", metavar="FILE", help="print a record of --json again; measure nothing")
    out.add_argument("--schema", action="store_true", help="print the description of the record's format and end")
    out.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(options: argparse.Namespace) -> int:
    """Measure or read, then print, write and draw."""
    from . import UsageError

    try:
        _check(options)
        from .. import bench
        from ..bench import plots

        if options.schema:
            print(json.dumps(bench.SCHEMA, indent=1))
            return 0
        if options.plot:
            plots.check_plot(options.plot)
        record = bench.read(options.source) if options.source else _measure(options)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:  # files first: whoever reads the table may stop before its end
        if options.json:
            record.save(options.json)
            print(f"written: {options.json}", file=sys.stderr)
        if options.plot:
            plots.save_plot(record, options.plot)
            print(f"drawn: {options.plot}", file=sys.stderr)
    finally:
        print(record)
    return 0


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, as the settings of the Python functions."""
    rates = options.rate or ([1 / density for density in options.density] if options.density else None)
    given = {
        "shapes": options.shape,
        "structures": options.structure,
        "rates": rates,
        "tokens": options.tokens,
        "threads": options.threads,
        "batches": options.batch,
        "model": options.model,
        "memory": options.memory,
        "repeats": options.repeats,
        "peers": options.peers and _list(options.peers),
        "skip": options.skip and tuple(_names(options.skip)),
        "seed": options.seed,
    }
    return {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None}


def _measure(options: argparse.Namespace) -> Any:
    from .. import bench

    measure: Callable[..., Any] = bench.bench_matrices
    if options.model is not None:
        measure = bench.bench_training if options.training else bench.bench_model
    progress = None if options.quiet else lambda line: print(line, file=sys.stderr, flush=True)
    return measure(progress=progress, **settings(options))


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for flags that do not go together, and for a place that nothing can be written to."""
    if options.source is not None:
        if beside := [f"--{name}" for name in MEASURING if getattr(options, name) is not None]:
            raise ValueError(f"--from measures nothing, so it cannot take {', '.join(beside)}; --plot would do")
        return
    if options.model is None:
        if alone := [f"--{name}" for name in ("batch", "training", "memory") if getattr(options, name) is not None]:
            raise ValueError(f"{', '.join(alone)}: only with --model, such as --model bert-base")
    elif options.shape is not None:
        raise ValueError("--shape and --model: a matrix or a model, not both; leave one out")
    if options.training and (options.peers is not None or options.skip is not None):
        raise ValueError("--training compares two ways only; --peers and --skip have no meaning with it")
    for flag in ("json", "plot"):
        place = getattr(options, flag)
        if place is not None and (not Path(place).parent.is_dir() or Path(place).is_dir()):
            raise ValueError(f"--{flag}: {place!r} must be a file in a folder that exists")


def _shape(text: str) -> tuple[int, int]:
    if (match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip().lower(), re.ASCII)) is None:
        raise argparse.ArgumentTypeError(f"expected OUTPUTSxINPUTS such as 3072x768, got {text!r}")
    return int(match[1]), int(match[2])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number such as 5, got {text!r}") from None


def _density(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share above 0 and up to 1, such as 0.2, got {text!r}")
    return value


def _whole(text: str) -> int:
    if re.fullmatch(r"[1-9]\d*", text.strip(), re.ASCII) is None:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)


def _whole_or_zero(text: str) -> int:
    return 0 if text.strip() == "0" else _whole(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _list(text: str) -> str | tuple[str, ...]:
    names = _names(text)
    return names[0] if names in (["all"], ["none"]) else tuple(names)
