"""The command `blockprune`: one file per subcommand, each with its flags (`add_arguments`) and what it does (`run`).

To add one: write `cli/NAME.py` with `HELP`, `DESCRIPTION`, `add_arguments(parser)` and `run(options)`, import what is
heavy inside `run`, and put NAME into `NAMES`. A ValueError or TypeError is how the library refuses a value: status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

from .._common.provenance import installed_version
from .narrow_help import NarrowHelp

#: The subcommands, in the order of `blockprune --help`.
NAMES = ("info", "bench", "data", "run", "report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 failed, 2 wrong flags, 130 stopped by Ctrl-C.

    >>> main(["info", "--help"])  # doctest: +SKIP
    """
    # Waiting threads must not take a core from the engine whose turn it is. OpenMP reads this when it starts.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    name = "blockprune"
    try:
        options = _parser().parse_args(arguments)
        name = options.parser.prog
        return _done(options, name)
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; what was whole is kept", file=sys.stderr)
        return 130


def _done(options: argparse.Namespace, name: str) -> int:
    """Run a subcommand; returns the exit status."""
    try:
        with _plain_warnings(name):
            options.run(options)
        sys.stdout.flush()
    except (TypeError, ValueError) as wrong:
        print(f"{options.parser.format_usage()}{name}: error: {wrong}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read has gone, as `head` does: nothing more can be said, and Python must not try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, RuntimeError, FloatingPointError, ImportError) as error:
        print(f"{name}: {_told(error)}", file=sys.stderr)
        return 1
    return 0


def _told(error: BaseException) -> str:
    """An error's own sentence; of one that the system made, what it says and of which file."""
    if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.filename and error.strerror:
        return f"{str(error.filename)!r} must be usable; got {error.strerror!r}: another file or folder would do"
    return str(error)


@contextlib.contextmanager
def _plain_warnings(name: str) -> Iterator[None]:
    """Warnings as one line without the place in the code."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *place, **more: f"{name}: warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blockprune",
        description="Block-structured pruning that makes transformers smaller and faster: measure it on this machine.",
        epilog="`blockprune SUBCOMMAND --help` explains one of them.",
    )
    version = installed_version("blockprune-lib") or "from a checkout that is not installed"
    parser.add_argument("--version", action="version", version=f"blockprune_lib {version}")
    subparsers = parser.add_subparsers(metavar="SUBCOMMAND", required=True)
    for name in NAMES:
        module = importlib.import_module(f".{name}", __name__)
        words = {"help": module.HELP, "description": module.DESCRIPTION, "allow_abbrev": False}
        chosen = subparsers.add_parser(name, formatter_class=NarrowHelp, **words)
        chosen.set_defaults(parser=chosen, run=module.run)
        module.add_arguments(chosen)
    return parser
