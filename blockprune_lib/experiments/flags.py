"""What went wrong in a run, in words: a record says so itself, and no table shows its score without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: A penalty whose share of groups near zero grew by less did nothing.
_MOVED = 0.01
#: How the flag of a run begins whose model collapsed.
_COLLAPSED = "collapsed:"


def flags(metric: str, majority: Mapping[str, float], final: Mapping[str, float], stages: Sequence[Any]) -> list[str]:
    """One sentence for each fault; [] where there is none. `stages`: the reports of the trained stages, in order.

    A score that is no better than that of always giving the commonest label (or the mean): the model collapsed. A
    penalty that left the share of groups near zero within a hundredth of what it was: it moved nothing.

    >>> flags("accuracy", {"accuracy": 0.5}, {"accuracy": 0.5}, [])
    ['collapsed: accuracy 0.500, the majority class has 0.500']
    """
    found = []
    level = majority[metric]
    for report in stages[:-1]:
        if report.after is not None and report.after[metric] <= level:
            found.append(f"collapsed after {report.stage}: {metric} {report.after[metric]:.3f}, majority {level:.3f}")
    if final[metric] <= level:
        found.append(f"{_COLLAPSED} {metric} {final[metric]:.3f}, the majority class has {level:.3f}")
    for report in stages:
        if report.near_zero is not None and report.near_zero[1] - report.near_zero[0] < _MOVED:
            first, last = report.near_zero
            found.append(f"the penalty moved nothing: {first:.1%} of groups near zero before, {last:.1%} after")
    return found


def collapsed(record: Mapping[str, Any]) -> bool:
    """Whether the model of a record scored, at the end, no more than the majority class.

    >>> collapsed({"flags": ["collapsed: accuracy 0.500, the majority class has 0.500"]})
    True
    """
    return any(flag.startswith(_COLLAPSED) for flag in record.get("flags", ()))
