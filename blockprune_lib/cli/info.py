"""`blockprune info`: what machine is this, with its measured peak and bandwidth."""

from __future__ import annotations

import argparse
import json

HELP = "this machine: processor, caches, measured peak and bandwidth, versions"
DESCRIPTION = """Describe this machine and measure what it could do at best, in about 5 s.

The peak is that of float32 fused multiply-adds, the bandwidth that of a triad over large arrays; both are the best of
many short bursts. Run it on a quiet machine. The last line says where compiled code is kept, which a read-only image of
a container may hold (bp.warm_up). From Python: bp.hardware()."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--json", action="store_true", help="print the record as JSON")


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    from ..kernels.encoder import encoder_worker
    from ..machine.native import cache_folder
    from ..machine.passport import hardware

    machine = hardware()
    if options.json:  # a record goes to other machines: no path of this one
        print(json.dumps(machine.to_dict(), indent=1))
        return
    folder = cache_folder(encoder_worker)
    print(machine)
    where = f"kept in {folder}" if folder else "not kept: no folder can be written; NUMBA_CACHE_DIR may name one"
    print(f"{'machine code':<26}{where}")
