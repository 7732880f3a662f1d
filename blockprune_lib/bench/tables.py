"""How a benchmark's record prints: a table for each case, and what was skipped; as text and as HTML."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .._common.tables import html_table, text_table
from ..machine.passport import Hardware
from .case import Case, count

HEAD = ("", "median ms", "quartiles ms", "speed [95 %]", "ours is", "GFLOP/s", "of peak", "error")
MODEL_HEAD = (*HEAD[:3], "sequences/s", *HEAD[3:])
#: What the second table of a model tells.
FASTEST = "times as fast as the fastest in each precision [95 %]"
#: What is said of a model's memory, after the megabytes.
_MEMORY = {"bytes_tensors": "of parameters and buffers", "bytes_resident": "resident with it",
           "bytes_peak": "at most while it runs"}  # fmt: skip


def text(cases: Sequence[Case], machine: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """Every case for a terminal; `machine` and `origin` are the hardware and the provenance of the record."""
    parts = []
    for case in cases:
        second = rivalry(case)
        tables = [text_table(rows(case)), *([text_table(second)] if second else [])]
        parts.append("\n".join([str(case.what), *tables, *notes(case)]))
    last = [textwrap.fill(line, 110, subsequent_indent="  ") for line in (conditions(cases[0]), place(machine, origin))]
    return "\n\n".join([*parts, "\n".join(last)])


def html(cases: Sequence[Case], machine: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """The same for a notebook."""
    tables = []
    for case in cases:
        caption = " ".join(f"{line}." for line in (case.what, *notes(case)))
        tables.append(html_table(rows(case), caption, "bp-table bp-benchmark"))
        if second := rivalry(case):
            tables.append(html_table(second, f"{case.what}: {FASTEST}.", "bp-table bp-benchmark"))
    return "".join([*tables, *(f"<p>{escape(line)}</p>" for line in (conditions(cases[0]), place(machine, origin)))])


def rows(case: Case) -> Sequence[tuple[str, ...]]:
    """The table's cells, the head first; a model's tell how many sequences a second an engine answers too."""
    batch = case.what.batch
    found = [HEAD if batch is None else MODEL_HEAD]
    for engine in case.engines:
        name = engine.name + (" (1 thread)" if engine.threads != case.what.threads else "")
        rate = () if batch is None else (_ms(1e3 * batch / engine.ms.median),)
        found.append((
            name, _ms(engine.ms.median), f"{_ms(engine.ms.q1)}–{_ms(engine.ms.q3)}", *rate,
            str(engine.ratio_to_baseline), f"{engine.ours_ratio_to_it.value:.2f}x", f"{engine.useful_gflops:.1f}",
            f"{engine.share_of_peak:.0%}", _error(engine.error),
        ))  # fmt: skip
    return found


def notes(case: Case) -> list[str]:
    """The lines under a table: the peak, what was not timed and why, and bytes where they were measured."""
    lines = []
    for name, peak in (("peak", case.peak_gflops), ("peak in bfloat16", case.peak_bfloat16_gflops)):
        if peak is not None:
            low, high = min(peak.samples), max(peak.samples)
            lines.append(f"{name} in the same rounds: {peak.median:.1f} GFLOP/s (median; {low:.1f} to {high:.1f})")
    absent: dict[str, list[str]] = {}
    for skipped in case.skipped:
        if skipped.install:
            absent.setdefault(skipped.install, []).append(skipped.engine)
    lines += [f"skipped, not installed: {', '.join(names)}; install with: {line}" for line, names in absent.items()]
    lines += [f"skipped: {skipped.engine}: {skipped.why}" for skipped in case.skipped if not skipped.install]
    return lines + [f"memory, {name}: {_memory(entry)}" for name, entry in (case.memory or {}).items()]


def rivalry(case: Case) -> Sequence[tuple[str, ...]]:
    """How many times as fast as the fastest rival in each precision each engine of ours is; empty with one rival."""
    if case.what.batch is None or len(case.rivals) < 2:
        return []
    fastest = sorted(case.fastest_rivals().values(), key=lambda rival: -rival.ms.median)
    found = [(FASTEST, *(rival.name for rival in fastest))]
    for ours in case.all_ours:
        found.append((ours.name, *(str(case.ratio(ours.key, rival.key)) for rival in fastest)))
    return found


def conditions(case: Case) -> str:
    """How the numbers are to be read."""
    return (
        f"speed: times as fast as {case.engine(case.baseline).name}; ours is: times as fast as that engine "
        f"{case.engine(case.ours).name} is; GFLOP/s counts only kept weights; of peak: of float32's, of bfloat16's for "
        "what runs in it; error: largest, relative to the largest number of the answer; "
        f"{case.rounds} rounds in turns after {case.warmup} warm-up calls"
    )


def place(machine: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """The machine and the commit, in a line."""
    try:
        known = {field.name for field in dataclasses.fields(Hardware)}
        passport = Hardware(**{name: value for name, value in machine.items() if name in known}).passport()
    except (KeyError, TypeError):
        passport = str(machine.get("cpu", "an unknown machine"))
    commit, changed = origin.get("commit"), " with changes" if origin.get("changed") else ""
    return f"machine: {passport}" + (f"; commit {str(commit)[:10]}{changed}" if commit else "")


def _error(value: float) -> str:
    return f"{value:.2%}" if value >= 1e-4 else f"{value:.0e}"


def _ms(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _memory(entry: Mapping[str, int | None]) -> str:
    found = {words: value for key, words in _MEMORY.items() if (value := entry.get(key)) is not None}
    parts = [f"{value / 1e6:,.1f} MB {words}" for words, value in found.items()]
    if (copies := entry.get("dense_copies")) is not None:
        parts.append(f"{count(copies, 'dense matrix', 'dense matrices')} of a pruned weight's shape alive")
    return ", ".join(parts)
