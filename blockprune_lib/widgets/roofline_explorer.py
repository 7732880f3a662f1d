"""The roofline explorer: one layer, dense and sparse, under the roof of this machine or of a recorded one.

Time is at least max(FLOPs ÷ peak, bytes ÷ bandwidth). A product of (T, N) with (M, N) takes 2 · T · M · N ·
density FLOPs; weights, their indices, inputs and outputs each move once. Left out: caches, the kernels' losses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import traitlets
from scipy.optimize import brentq

from ..machine.passport import Hardware, hardware
from ..nn.break_even import interpolate_break_even
from ..pruning.structure import BlockStructure
from .host import Explorer, group_sides, source
from .pictures import times

SHAPES = ("384x384", "1536x384", "384x1536", "768x768", "3072x768", "768x3072", "4096x4096")
STRUCTURES = ("irregular", "block_row:64", "block_column:16", "tile:32x32", "row", "column")


class RooflineExplorer(Explorer):
    """How fast a layer could be, by its shape, tokens, density and structure, on a machine that was measured.

    `machines`: `Hardware`, or what its `to_dict()` gives, this machine where left out. `records`: what
    `blockprune bench --json` wrote for products of one matrix; their machines join the menu, and their times stand
    beside the roofline. Settings: `machine` by name, `threads` "one" or "all", `shape` "MxN", `structure`, `tokens`
    (a power of two up to 4,096) and `density`. Raises ValueError for a machine without measured limits.
    """

    module = "roofline_explorer"
    _esm = source("roofline_explorer")

    machine = traitlets.Unicode(help="one of the machines, by name").tag(sync=True)
    threads = traitlets.Enum(("one", "all"), "one", help="threads in use").tag(sync=True)
    shape = traitlets.Enum(SHAPES, "3072x768", help="outputs x inputs").tag(sync=True)
    structure = traitlets.Enum(STRUCTURES, "block_column:16", help="kind and sides of a group").tag(sync=True)
    tokens = traitlets.Enum(tuple(2**power for power in range(13)), 128, help="rows of the input").tag(sync=True)
    density = traitlets.Float(0.2, min=0.01, max=1.0, help="kept share of the matrix").tag(sync=True)

    def __init__(
        self, machines: Iterable[Hardware | Mapping[str, Any]] = (), records: Iterable[Mapping[str, Any]] = (),
        **settings: Any,
    ) -> None:  # fmt: skip
        records = list(records)
        plain = [one.to_dict() if isinstance(one, Hardware) else dict(one) for one in machines]
        recorded = [dict(record["hardware"]) for record in records]
        listed = {_name(one): _limits(one) for one in [*(plain or [hardware().to_dict()]), *recorded]}
        self._machines = list(listed.values())
        settings.setdefault("machine", self._machines[0]["name"])
        data = {
            "machines": self._machines,
            "shapes": list(SHAPES),
            "structures": {text: group_sides(text) for text in STRUCTURES},
        }
        measured = [entry for record in records for entry in _measured(record)]
        super().__init__(data=data | {"measured": measured}, **settings)

    @traitlets.validate("machine")
    def _check_machine(self, proposal: Any) -> str:
        names = [machine["name"] for machine in self._machines]
        if proposal["value"] not in names:
            raise traitlets.TraitError(f"machine must be one of {', '.join(names)}; got {proposal['value']!r}")
        return str(proposal["value"])

    def figures(self) -> dict[str, float | None]:
        """What the page shows at the present settings: least times in ms, their ratio, intensity, break-even."""
        dense, sparse, intensity = self._times(self.density)
        keys = ("machine", "shape", "structure", "tokens", "threads")
        same = [entry for entry in self.data["measured"] if all(entry[key] == getattr(self, key) for key in keys)]
        return {
            "dense_ms": dense, "sparse_ms": sparse, "speed": dense / sparse, "intensity": intensity,
            "break_even": self._break_even(), "measured_break_even": same[0]["break_even"] if same else None,
        }  # fmt: skip

    def _times(self, density: float) -> tuple[float, float, float]:
        """Least ms of the dense and of the sparse product, and FLOP per byte of the sparse one."""
        M, N = (int(side) for side in self.shape.split("x"))
        structure = BlockStructure.parse(self.structure)
        (R, C), (r, c) = structure.grid((M, N)), structure.group_shape((M, N))
        machine = next(one for one in self._machines if one["name"] == self.machine)
        size = "core" if self.threads == "one" else "all"
        peak, bandwidth = machine[f"peak_{size}"] * 1e9, machine[f"bandwidth_{size}"] * 1e9
        moved, kept = 4 * self.tokens * (M + N), density * R * C
        work = {
            "dense": (2 * self.tokens * M * N, 4 * M * N + moved),
            "sparse": (2 * self.tokens * density * M * N, kept * (4 * r * c + 4) + 8 * (R + 1) + moved),
        }
        ms = {name: 1e3 * max(flops / peak, traffic / bandwidth) for name, (flops, traffic) in work.items()}
        return ms["dense"], ms["sparse"], work["sparse"][0] / work["sparse"][1]

    def _break_even(self) -> float:
        def gain(density: float) -> float:
            dense, sparse, _ = self._times(density)
            return dense - sparse

        return 1.0 if gain(1.0) >= 0 else float(brentq(gain, 0.0, 1.0, xtol=1e-12))

    def describe(self) -> str:
        """What the explorer shows, in a sentence."""
        found = self.figures()
        layer = f"a layer of {self.shape}, {self.tokens} tokens, {self.structure} at density {self.density:.0%}"
        least = f"at least {found['sparse_ms']:.3g} ms, {found['dense_ms']:.3g} dense"
        return f"Roofline explorer: {layer} on {self.machine}: {least}."

    def picture(self) -> bytes | None:
        """A PNG of the least time against density."""
        grid = [i / 100 for i in range(1, 101)]
        found = [self._times(density) for density in grid]
        sparse, dense = [ms for _, ms, _ in found], found[-1][0]
        return times(grid, sparse, dense, self._break_even(), f"{self.shape}, {self.machine}")


def _name(machine: Mapping[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['isa']}"


def _limits(machine: Mapping[str, Any]) -> dict[str, Any]:
    keys = {"peak_core": "peak_core_gflops", "peak_all": "peak_all_gflops",
            "bandwidth_core": "bandwidth_core_gbs", "bandwidth_all": "bandwidth_gbs"}  # fmt: skip
    limits = {short: machine.get(key) for short, key in keys.items()}
    if not all(limits.values()):
        raise ValueError(f"machines: peak and bandwidth of {_name(machine)} were not measured; blockprune info does it")
    return {"name": _name(machine), **limits}


def _measured(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The bench's products of one matrix, a list of densities for each shape, structure, tokens and threads."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for case in record["cases"]:
        what = case["what"]
        if what["threads"] == 1:
            shape = "x".join(map(str, what["shape"]))
            groups.setdefault((shape, what["structure"], what["tokens"]), []).append(case)
    found = []
    for (shape, structure, tokens), cases in groups.items():
        cases.sort(key=lambda case: case["what"]["density"])
        times_of = [{engine["key"]: engine["ms"] for engine in case["engines"]} for case in cases]
        ours = [ms[case["ours"]] for ms, case in zip(times_of, cases, strict=True)]
        densities = [case["what"]["density"] for case in cases]
        level = sorted(ms["torch"]["median"] for ms in times_of)[len(cases) // 2]
        pairs = zip(densities, ours, strict=True)
        found.append({
            "machine": _name(record["hardware"]), "shape": shape, "structure": structure, "tokens": tokens,
            "threads": "one", "dense": level,
            "points": [{"density": at, "ms": ms["median"], "q1": ms["q1"], "q3": ms["q3"]} for at, ms in pairs],
            "break_even": interpolate_break_even(densities, [ms["median"] for ms in ours], level),
        })  # fmt: skip
    return found
