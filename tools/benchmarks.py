"""Run the recorded benchmarks: each is one `blockprune bench` command, and its record goes to book/results/.

`python -m tools.benchmarks` runs all (about half an hour on two cores); with names, those. Quiet is up to you. Records
of whole models are kept one for each class of machine, such as bench-model-avx512bf16.json; to measure as on a
processor with AVX2 only: NUMBA_CPU_NAME=haswell ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
STRUCTURES = ("block_column:16", "block_column:32", "block_column:64", "tile:16x16", "tile:32x32",
              "block_row:32", "block_row:64", "block_row:96")  # fmt: skip


def _each(flag: str, *values: object) -> list[str]:
    return [word for value in values for word in (flag, str(value))]


#: Name of a record -> the flags of the command that makes it, one file for each class of machine; PRECISIONS stands for
#: those that it has.
RECIPES: dict[str, list[str]] = {
    # Share of the peak: every structure, shape and density, beside the dense product only.
    "bench-kernels": [*_each("--structure", *STRUCTURES), *_each("--density", 0.1, 0.2, 0.5, 1.0), "--peers", "none",
                      "--repeats", "15"],
    # Every way to run the same pruned matrix.
    "bench-rivals": [*_each("--structure", "block_column:16", "tile:32x32", "block_row:64"), "--rate", "5",
                     *_each("--threads", 1, 2), "--repeats", "15", "--skip", "torch-compile"],
    # Token counts that are no multiple of a tile.
    "bench-tokens": [*_each("--structure", "block_column:16", "block_row:64"), *_each("--shape", "768x768", "3072x768"),
                     *_each("--tokens", 1, 7, 32, 33, 64, 100, 128, 129, 512), "--peers", "none", "--repeats", "15"],
    "bench-training": ["--model", "bert-base", "--training", *_each("--threads", 1, 2), "--repeats", "5"],
    # A whole encoder of BERT-base's shapes beside every dense engine, in every precision; and its bytes.
    "bench-model": ["--model", "bert-base", "--structure", "tile:32x32", "block_column:32", "block_row:64",
                    "block_column:4", "block_column:16", "block_row:16", "irregular", "--precision", "PRECISIONS",
                    "--threads", "1", "2", "--repeats", "11", "--skip", "openvino-qdq"],
    "bench-memory": ["--model", "bert-base", "--structure", "tile:32x32", "block_column:4", "irregular", "--precision",
                     "PRECISIONS", "--memory", "--peers", "none", "--repeats", "5"],
    # A batch of real sentences, each of its own length; and batches of equal length.
    "bench-lengths": ["--model", "bert-base", "--batch", "32", "--lengths", "sst2", "--structure", "tile:32x32",
                      "block_column:32", "block_column:4", "--precision", "PRECISIONS", "--threads", "1",
                      "2", "--repeats", "5",
                      "--skip", "torch-compile,torch-compile-bf16,torch-max,torch-max-bf16,openvino-qdq"],
    "bench-batches": ["--model", "minilm", "--batch", "1", "8", "32", "--structure", "tile:32x32", "block_column:4",
                      "--precision", "PRECISIONS", "--threads", "2", "--repeats", "7",
                      "--skip", "torch-compile,torch-max,openvino-qdq"],
    # How small may a block be: one matrix in groups of every size, beside the same kernel with every weight kept.
    "bench-sizes": ["--kernels", "--precision", "KERNELS", "--shape", "768x768", *_each("--rate", 5, 1), *_each(
        "--structure", "irregular", "block_column:4", "block_column:16", "block_column:32", "block_column:64",
        "tile:16x2", "block_row:64", "tile:32x32"), "--repeats", "15"],
    # The encoder's products alone: what is left to gain in the kernels.
    "bench-products": ["--kernels", "--precision", "KERNELS", "--repeats", "15"],
}  # fmt: skip


def machine_class() -> str:
    """The instructions that the kernels use here, as the names of files have them."""
    from blockprune_lib.machine import WIDTH
    from blockprune_lib.machine.cpu import host_features

    if platform.machine().lower() in ("arm64", "aarch64"):
        return "neon"
    features = host_features()
    if WIDTH < 16:
        return "avx2" if WIDTH == 8 else "sse2"
    return next((name for key, name in NEWER.items() if features.get(key)), "avx512")


#: The rivals that can be held to older instructions as the kernels can, by the variables above.
LIMITED = "openvino,openvino-int8"
#: LLVM's feature -> the class of a machine that has it, the best first.
NEWER = {"amx-bf16": "amx", "avx512bf16": "avx512bf16"}


def precisions() -> list[str]:
    """Those that `sparsify` takes on this machine."""
    from blockprune_lib.bench.encoder import check_precision

    found = []
    for precision in ("float32", "bfloat16"):
        with contextlib.suppress(ValueError):
            check_precision(precision)
            found.append(precision)
    return found


def command(name: str) -> tuple[list[str], Path]:
    """The flags of a record's command, and the file that it writes."""
    from blockprune_lib.bench.kernel_shares import KERNELS

    given: dict[str, Callable[[], list[str]]] = {"PRECISIONS": precisions, "KERNELS": lambda: list(KERNELS)}
    if os.environ.get("NUMBA_CPU_NAME") and "--skip" in RECIPES[name]:
        given |= {"--skip": lambda: ["--peers"], RECIPES[name][-1]: lambda: [LIMITED]}
    flags = [word for flag in RECIPES[name] for word in (given[flag]() if flag in given else [flag])]
    return flags, RESULTS / f"{name}-{machine_class()}.json"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that are named, or all; return the exit status."""
    from blockprune_lib.cli import main as blockprune

    names = list(RECIPES)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME", help=", ".join(names))
    for name in parser.parse_args(arguments).names or names:
        flags, path = command(name)
        print(f"{name}: blockprune bench {' '.join(flags)}", flush=True)
        status = blockprune(["bench", *flags, "--json", str(path)])
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
