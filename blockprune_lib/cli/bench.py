"""`blockprune bench`: block-sparse layers against every off-the-shelf way to run the same pruned matrix or model.

Most flags are fields of `bench.settings`: a flag has the field's description, default and type, and may be repeated
where the field is a list.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from ..bench.model_settings import ModelSettings, TrainingSettings
from ..bench.settings import KernelSettings, MatrixSettings

HELP = "time block-sparse layers against off-the-shelf engines: one matrix, or a whole model"
DESCRIPTION = """Time block-sparse layers on this machine against every off-the-shelf way to run the same pruned matrix.

  blockprune bench                               three matrices of BERT-base, one thread
  blockprune bench --shape 1024x4096 --structure tile:32x32 --density 0.1 --threads 4
  blockprune bench --model bert-base             a whole encoder (freshly drawn weights, no download)
  blockprune bench --model bert-base --structure tile:32x32 irregular --precision float32 auto --threads 1 2
  blockprune bench --model minilm --batch 32 --lengths sst2     real sentences, padded for whoever needs it
  blockprune bench --model minilm --training     a step of masked retraining
  blockprune bench --kernels                     the encoder's products alone, as shares of the peak
  blockprune bench --json FILE --plot FILE.svg   keep every sample with its provenance, and draw it
  blockprune bench --from FILE                   print a record again without measuring

Every engine's answer is compared with the right one before it is timed. Engines take turns, and so does a burst of
multiply-adds that says what the machine could do in the same seconds. Engines that are not installed are named:
pip install 'blockprune-lib[peers]' installs them. Flags marked * take several values; every combination is a case (of a
model the structures and precisions of blockprune run side by side, beside one set of engines)."""
#: Flags that are fields of the settings, by what the help calls their value: "" for a flag without one.
WHAT = {"shape": "MxN", "model": "NAME", "structure": "TEXT", "precision": "NAME", "rate": "R", "tokens": "T",
        "batch": "B", "lengths": "LIST", "memory": ""}  # fmt: skip
HOW = {"threads": "N", "repeats": "N", "peers": "LIST", "skip": "LIST", "seed": "N"}
SCHEMAS = MatrixSettings.model_json_schema()["properties"] | ModelSettings.model_json_schema()["properties"]
#: Flag -> the field, which is a plural where the flag may be repeated.
FIELDS = {flag: next(name for name in SCHEMAS if name in (flag, f"{flag}s", f"{flag}es")) for flag in WHAT | HOW}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    what: Any = parser.add_argument_group("what to measure")
    how: Any = parser.add_argument_group("how to measure")
    for flag, metavar in (WHAT | HOW).items():
        group = what if flag in WHAT else how
        if flag == "rate":
            group, text = what.add_mutually_exclusive_group(), "* groups kept / all groups, 0 to 1"
            group.add_argument("--density", action="extend", nargs="+", type=_density, metavar="D", help=text)
        group.add_argument(f"--{flag}", dest=FIELDS[flag], **_options(SCHEMAS[FIELDS[flag]], metavar))
    what.add_argument("--training", action="store_true", default=None,
                      help="with --model: a training step, dense with masks held against block-sparse")  # fmt: skip
    what.add_argument("--kernels", action="store_true", default=None,
                      help="the compiled encoder's products alone, hot and in turns, against the peak")  # fmt: skip
    out = parser.add_argument_group("what to do with it")
    out.add_argument("--json", metavar="FILE", help="write the record: every sample, versions, machine, commit, flags")
    out.add_argument("--plot", metavar="FILE", help="draw useful GFLOP/s with the peak as roof line: .svg or .png")
    out.add_argument("--from", dest="source", metavar="FILE", help="print a record of --json again; measure nothing")
    out.add_argument("--schema", action="store_true", help="print the JSON schema of the record and end")
    out.add_argument("--quiet", action="store_true", help="no progress on standard error")


def _options(schema: dict[str, Any], metavar: str) -> dict[str, Any]:
    text, default, of = schema["description"], schema["default"], schema.get("type")
    if of == "boolean":
        return {"action": "store_true", "default": None, "help": text}
    if default != [] and of != "string" and "(default" not in text:
        text += f" (default: {_shown(default)})"
    if "anyOf" in schema and default is None:
        return {"metavar": metavar, "help": text}
    if metavar == "LIST":
        return {"type": _listed, "metavar": metavar, "help": text}
    convert = {"integer": int, "number": float}.get(schema.get("items", schema)["type"], str)
    repeated = {"action": "extend", "nargs": "+", "help": f"* {text}"} if of == "array" else {"help": text}
    return {"type": partial(_converted, convert), "metavar": metavar} | repeated


def _shown(default: Any) -> str:
    if isinstance(default, list):
        return ", ".join("x".join(map(str, each)) if isinstance(each, list) else _shown(each) for each in default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def run(options: argparse.Namespace) -> None:
    """Measure or read, then print, write and draw."""
    _check(options)
    from .. import bench
    from .._common.plots import check_picture
    from ..bench import plots

    if options.schema:
        print(json.dumps(bench.SCHEMA, indent=1))
        return
    if options.plot:
        check_picture(options.plot)
    measure = {
        MatrixSettings: bench.bench_matrices, KernelSettings: bench.bench_kernels, ModelSettings: bench.bench_model,
        TrainingSettings: bench.bench_training,
    }[_kind(options)]  # fmt: skip
    progress = None if options.quiet else partial(print, file=sys.stderr, flush=True)
    record = bench.read(options.source) if options.source else measure(progress=progress, **settings(options))
    try:  # files first: whoever reads the table may stop before its end
        if options.json:
            record.save(options.json)
            print(f"written: {options.json}", file=sys.stderr)
        if options.plot:
            plots.save_plot(record, options.plot)
            print(f"drawn: {options.plot}", file=sys.stderr)
    finally:
        print(record)


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, as the settings of the Python functions; raises as they do where one is wrong."""
    given = {name: value for name in FIELDS.values() if (value := getattr(options, name)) is not None}
    if options.density:
        given["rates"] = [1 / density for density in options.density]
    _kind(options)(**given)
    return given


def _kind(options: argparse.Namespace) -> Any:
    """The settings that the flags fill."""
    if options.model is not None:
        return TrainingSettings if options.training else ModelSettings
    return KernelSettings if options.kernels else MatrixSettings


TRAINING_LACKS = ("peers", "skip", "precision", "lengths", "memory")
#: Flags that only some benchmarks have: the flag -> what it goes with.
ONLY = {
    "batch": ("model",), "lengths": ("model",), "memory": ("model",), "training": ("model",),
    "precision": ("model", "kernels"),
}  # fmt: skip


def _check(options: argparse.Namespace) -> None:
    measuring = FIELDS | {flag: flag for flag in ("density", "training", "kernels", "json")}
    given = [flag for flag, name in measuring.items() if getattr(options, name) is not None]
    alone = [flag for flag in given if flag in ONLY and not {*ONLY[flag]} & {*given}]
    if options.source is not None and given:
        raise ValueError(f"--from measures nothing, so it cannot take --{', --'.join(given)}; --plot would do")
    if alone:
        raise ValueError(f"--{', --'.join(alone)}: only with --model, such as --model bert-base")
    if options.model is not None and (both := {"shape", "kernels"} & {*given}):
        raise ValueError(f"--{both.pop()} and --model: a matrix or a model, not both; leave one out")
    if options.training and (wrong := [flag for flag in TRAINING_LACKS if flag in given]):
        raise ValueError(f"--training compares two ways only; --{', --'.join(wrong)} would have no meaning with it")
    if options.kernels and (wrong := [flag for flag in ("peers", "skip") if flag in given]):
        raise ValueError(f"--kernels runs no other engine; --{', --'.join(wrong)} would have no meaning with it")
    if options.json is not None and (not Path(options.json).parent.is_dir() or Path(options.json).is_dir()):
        raise ValueError(f"--json must be a file in a folder that exists; got {options.json!r}")


def _converted(convert: Any, text: str) -> Any:
    """The value, or the text where it is none, which the settings then refuse by name."""
    try:
        return convert(text)
    except ValueError:
        return text


def _density(text: str) -> float:
    value = _converted(float, text)
    if isinstance(value, str) or not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and up to 1; got {text!r}: 0.2 would do")
    return value


def _listed(text: str) -> str | tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return names[0] if names in (("all",), ("none",)) else names
