"""`blockprune info`: what machine is this, with its measured peak and bandwidth."""

from __future__ import annotations

import argparse
import json

HELP = "this machine: processor, caches, measured peak and bandwidth, versions"
DESCRIPTION = """Describe this machine and measure what it could do at best, in about 5 s.

The peak is that of float32 fused multiply-adds, the bandwidth that of a triad over large arrays; both are the best of
many short bursts. Run it on a quiet machine. From Python: bp.hardware()."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--json", action="store_true", help="print the record as JSON")


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    from ..machine.passport import hardware

    machine = hardware()
    print(json.dumps(machine.to_dict(), indent=1) if options.json else machine)
