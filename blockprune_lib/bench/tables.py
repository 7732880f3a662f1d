"""How a benchmark's record prints: a table for each case, and what was skipped; as text and as HTML.

Left out: pictures (`pictures`), and any verdict: a table shows the rows where ours is slower as it shows the others.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from html import escape
from typing import Any

from .._common.tables import html_table, text_table
from ..machine.comparison import _ms
from .measuring import Case
from .records import Record

HEAD = ("", "median ms", "quartiles ms", "speed [95 %]", "ours is", "GFLOP/s", "of peak", "error")


def text(record: Record) -> str:
    """The whole record for a terminal."""
    parts = []
    for case in record.cases:
        lines = [title(case), text_table(rows(case)), peak_line(case), *skipped_lines(case)]
        parts.append("\n".join([*lines, *memory_lines(case)]))
    notes = [textwrap.fill(line, 110, subsequent_indent="  ") for line in (conditions(record), machine(record))]
    return "\n\n".join([*parts, "\n".join(notes)])


def html(record: Record) -> str:
    """The same for a notebook."""
    tables = []
    for case in record.cases:
        notes = " ".join(f"{line}." for line in [peak_line(case), *skipped_lines(case), *memory_lines(case)])
        tables.append(html_table(rows(case), f"{title(case)}. {notes}", "bp-table bp-benchmark"))
    return "".join([*tables, html_note(conditions(record)), html_note(machine(record))])


def html_note(line: str) -> str:
    """A paragraph.

    >>> html_note("a < b")
    '<p>a &lt; b</p>'
    """
    return f"<p>{escape(line)}</p>"


def title(case: Case) -> str:
    """What a case is, in a line: the matrix or the model, the structure, the rate, tokens and threads."""
    what = case.what
    size = " x ".join(map(str, what["shape"])) if "shape" in what else str(what["model"])
    batch = f"batch {what['batch']} x {_count(what['tokens'], 'token')}" if "batch" in what else None
    return ", ".join(
        [
            size,
            f"{what['structure']} at rate {what['rate']:g} ({what['density']:.1%} kept)",
            batch or _count(what["tokens"], "token"),
            _count(what["threads"], "thread"),
        ]
    )


def rows(case: Case) -> list[tuple[str, ...]]:
    """The table's cells, the head first."""
    cells: list[tuple[str, ...]] = [HEAD]
    for key, measured in case.engines.items():
        timing = case.comparison.timings[key]
        single = " (1 thread)" if measured.threads != case.what["threads"] else ""
        cells.append(
            (
                measured.name + single,
                _ms(timing.median),
                f"{_ms(timing.q1)}–{_ms(timing.q3)}",
                str(case.over(key)),
                f"{case.ours_over(key).value:.2f}x",
                f"{case.gflops(key):.1f}",
                f"{case.share(key):.0%}",
                f"{measured.error:.0e}",
            )
        )
    return cells


def peak_line(case: Case) -> str:
    """The peak that was measured between the engines' turns."""
    low, high = min(case.peak), max(case.peak)
    return f"peak in the same rounds: {case.peak_gflops:.1f} GFLOP/s (median; {low:.1f} to {high:.1f})"


def skipped_lines(case: Case) -> list[str]:
    """What was not timed and why; what is not installed shares one line with the pip line that would help."""
    absent = [skipped for skipped in case.skipped if skipped.install]
    lines = []
    if absent:
        names = ", ".join(skipped.engine for skipped in absent)
        lines.append(f"skipped, not installed: {names}; install with: {absent[0].install}")
    lines += [f"skipped: {skipped.engine}: {skipped.why}" for skipped in case.skipped if not skipped.install]
    return lines


def memory_lines(case: Case) -> list[str]:
    """Bytes of the dense and of the sparse model, where they were measured."""
    if case.memory is None:
        return []
    return [f"memory, {name}: {_memory(entry)}" for name, entry in case.memory.items()]


def conditions(record: Record) -> str:
    """How the numbers are to be read."""
    case = record.cases[0]
    baseline, compared = case.engines[case.baseline].name, case.comparison
    return (
        f"speed: times as fast as {baseline}; ours is: times as fast as that engine blockprune is; GFLOP/s counts only "
        f"kept weights; error: largest, relative to the largest number of the answer; {compared.rounds} rounds in "
        f"turns after {compared.warmup} warm-up calls"
    )


def machine(record: Record) -> str:
    """The machine, the versions and the date, in a line."""
    from ..machine.passport import Hardware

    names = {field.name for field in dataclasses.fields(Hardware)}
    try:
        passport = Hardware(**{name: record.hardware[name] for name in names}).passport()
    except (KeyError, TypeError):
        passport = str(record.hardware.get("cpu", "an unknown machine"))
    commit = record.provenance.get("commit")
    changed = " with changes" if record.provenance.get("changed") else ""
    return f"machine: {passport}" + (f"; commit {str(commit)[:10]}{changed}" if commit else "")


def _memory(entry: Mapping[str, Any]) -> str:
    parts = [f"{entry['bytes_tensors'] / 1e6:,.1f} MB of parameters and buffers"]
    if entry.get("bytes_resident") is not None:
        parts.append(f"{entry['bytes_resident'] / 1e6:,.1f} MB resident with it")
    if entry.get("bytes_peak") is not None:
        parts.append(f"{entry['bytes_peak'] / 1e6:,.1f} MB at most while it runs")
    if entry.get("dense_copies") is not None:
        matrices = _count(entry["dense_copies"], "dense matrix", "dense matrices")
        parts.append(f"{matrices} of a pruned weight's shape alive")
    return ", ".join(parts)


def _count(number: int, word: str, plural: str = "") -> str:
    return f"{number} {word if number == 1 else plural or word + 's'}"
