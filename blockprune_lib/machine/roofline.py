"""What the roofline says about a piece of work, and about work that was measured; both print themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .._common.tables import Printed, text_table


@dataclass(frozen=True)
class Attainable:
    """What the roofline allows for some operations and bytes.

    gflops, ms   the highest rate, and the shortest time that follows from it
    intensity    FLOP per byte
    ridge        FLOP per byte at which the two limits meet
    threads      that the limits are of
    """

    gflops: float
    ms: float
    intensity: float
    ridge: float
    threads: int

    @property
    def bound(self) -> str:
        """ "memory" left of the ridge, "arithmetic" right of it."""
        return "memory" if self.intensity < self.ridge else "arithmetic"

    def __repr__(self) -> str:
        return (
            f"at most {self.gflops:.4g} GFLOP/s, at least {self.ms:.4g} ms on {count(self.threads, 'thread')}: "
            f"limited by {self.bound} ({self.intensity:.3g} FLOP per byte, ridge at {self.ridge:.3g})"
        )


@dataclass(frozen=True)
class Placed:
    """A measured operation under the roof.

    share_of_peak, share_of_roof   0 to 1; more than 1 where bytes were counted that the cache kept from moving
    bound    which limit is the lower one, "memory" or "arithmetic"
    """

    intensity: float
    gflops: float
    share_of_peak: float
    share_of_roof: float
    bound: str


@dataclass(frozen=True, repr=False)
class Placement(Printed):
    """Measured operations under one roof; prints as a table."""

    points: Mapping[str, Placed]
    threads: int

    def _table(self) -> list[tuple[str, ...]]:
        head = ("", "FLOP per byte", "GFLOP/s", "% of peak", "% of roof", "limit")
        rows = [
            (name, f"{point.intensity:.2g}", f"{point.gflops:.3g}", f"{100 * point.share_of_peak:.2g}",
             f"{100 * point.share_of_roof:.0f}", point.bound)
            for name, point in self.points.items()
        ]  # fmt: skip
        return [head, *rows]

    def _caption(self) -> str:
        return f"Roofline of {count(self.threads, 'thread')}"

    def __repr__(self) -> str:
        return f"{text_table(self._table())}\nroofline of {count(self.threads, 'thread')}"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "thread"), count(2, "thread")
    ('1 thread', '2 threads')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")
