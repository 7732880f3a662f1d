"""What machine is this, and what could it do at best: cores, caches, measured peak and bandwidth, and the roofline.

Peak and bandwidth are measured: clocks, virtual machines and neighbours change what stands in a data sheet.
"""

from __future__ import annotations

import datetime
import math
import platform
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from .._common.checks import finite_number, positive_int
from .._common.provenance import installed_version
from .._common.tables import html_table
from . import shared
from .amx import amx_state
from .cpu import Processor, host_features, isa_name, processor
from .roofline import Attainable, Placed, Placement, count

NO_TILES = "no matrix unit that kernels may use (AMX)"
NO_PAIRS = "no multiply-adds of bfloat16 in vectors (AVX512-BF16)"


@dataclass(frozen=True, repr=False)
class Hardware(Processor):
    """The machine that a number was measured on; rates are the best of many bursts, and `spread` has the others.

    What could not be known is None.

    cpu, architecture, isa   the processor's name; "x86_64" or "arm64"; its widest vectors, such as "AVX-512"
    physical_cores, logical_cores   of the machine
    usable_cores, quota_cores   those this process may use; a container's share of them, such as 1.5
    l1d_bytes, l2_bytes, l3_bytes   the caches that one core sees
    memory_bytes             of the machine, or what a container is allowed
    torch_threads, lanes     threads torch computes with; float32 numbers in a vector register
    peak_core_gflops, peak_all_gflops   multiply-adds in float32 on one core and on all, GFLOP/s
    bandwidth_core_gbs, bandwidth_gbs   memory traffic of a triad on one core and on all, GB/s
    bandwidth_bytes          how large the arrays of the triad were
    spread                   {name of a rate: its quartiles and number of bursts}
    bfloat16_core_gflops, bfloat16_all_gflops   the same peaks for multiply-adds of bfloat16 pairs, GFLOP/s
    amx                      whether the matrix unit is "not there", "granted by the system" or refused
    tiles_core_gflops, tiles_all_gflops   the peaks of that unit for multiply-adds of bfloat16, GFLOP/s
    versions, platform, date   of the packages; the system; the day of the measurement
    """

    architecture: str
    isa: str
    torch_threads: int
    lanes: int | None
    peak_core_gflops: float | None
    peak_all_gflops: float | None
    bandwidth_core_gbs: float | None
    bandwidth_gbs: float | None
    bandwidth_bytes: int | None
    spread: Mapping[str, Mapping[str, float]]
    versions: Mapping[str, str | None]
    platform: str
    date: str
    #: Of multiply-adds of bfloat16 in vectors, with float32 sums; None where there are none; and of the matrix unit.
    bfloat16_core_gflops: float | None = None
    bfloat16_all_gflops: float | None = None
    amx: str | None = None
    tiles_core_gflops: float | None = None
    tiles_all_gflops: float | None = None

    def roofline(self, flops: float, bytes: float, *, threads: int | None = None) -> Attainable:
        r"""Best that this machine could do for `flops` operations on `bytes` of memory traffic.

        P = min(P_peak, I B) with the intensity I = flops / bytes, the peak P_peak in GFLOP/s and the bandwidth B in
        GB/s (Williams, Waterman and Patterson 2009). On `threads` (default: all usable cores) both limits grow with
        the threads up to what was measured for all. Raises ValueError for negative, infinite or all-zero work, for
        fewer than one thread, and where nothing could be measured; TypeError for non-numbers.
        """
        finite_number(flops, "flops", 0, "2 for each multiply-add would do")
        finite_number(bytes, "bytes", 0, "4 for each float32 moved would do")
        if flops == bytes == 0:
            raise ValueError("flops or bytes must be positive; got 0 for both")
        peak, bandwidth, used = self._limits(threads)
        seconds = max(flops / (peak * 1e9), bytes / (bandwidth * 1e9))
        intensity = flops / bytes if bytes else math.inf
        return Attainable(flops / seconds / 1e9, seconds * 1e3, intensity, ridge=peak / bandwidth, threads=used)

    def place(self, points: Mapping[str, tuple[float, float, float]], *, threads: int | None = None) -> Placement:
        """Put measured operations under the roofline: name -> (FLOPs, bytes, ms) gives rates and shares of the limits.

        Raises ValueError for an empty mapping or a time that is not positive, and what `roofline` raises.
        """
        if not points:
            raise ValueError('points must have at least one entry; got none: {"dense": (flops, bytes, ms)} would do')
        placed = {}
        for name, (flops, moved, ms) in points.items():
            finite_number(ms, f"points[{name!r}] in ms", 0, "a measured median would do", above=True)
            roof = self.roofline(flops, moved, threads=threads)
            gflops, peak = flops / ms / 1e6, self._limits(threads)[0]
            placed[name] = Placed(roof.intensity, gflops, gflops / peak, roof.ms / ms, roof.bound)
        return Placement(placed, self._limits(threads)[2])

    def _limits(self, threads: int | None) -> tuple[float, float, int]:
        threads = None if threads is None else positive_int(threads, "threads")
        rates = (self.peak_core_gflops, self.peak_all_gflops, self.bandwidth_core_gbs, self.bandwidth_gbs)
        core, everything, one, all_of_them = (rate or 0.0 for rate in rates)
        if not (core and everything and one and all_of_them):
            raise ValueError("a roofline needs peak and bandwidth, which could not be measured on this machine")
        if threads is None or threads >= self.usable_cores:
            return everything, all_of_them, threads or self.usable_cores
        return min(threads * core, everything), min(threads * one, all_of_them), threads

    def passport(self) -> str:
        """The machine in one line, as it stands at the head of each chapter."""
        parts = [f"{self.cpu}, {self.isa}, {count(self.usable_cores, 'core')} to use"]
        if self.peak_core_gflops and self.peak_all_gflops:
            parts.append(f"{self.peak_core_gflops:.0f} GFLOP/s a core, {self.peak_all_gflops:.0f} on all")
        if self.bandwidth_core_gbs and self.bandwidth_gbs:
            parts.append(f"{self.bandwidth_core_gbs:.1f} GB/s on one thread, {self.bandwidth_gbs:.1f} on all")
        parts.append(f"torch {self.versions.get('torch')} on {count(self.torch_threads, 'thread')}")
        parts.append(f"blockprune_lib {self.versions.get('blockprune_lib')}")
        return "; ".join([*parts, self.date[:10]])

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers, text, lists and dictionaries, ready for `json.dump`."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """What is known, in words: each name with its value and unit."""
        caches = (("L1d", self.l1d_bytes), ("L2", self.l2_bytes), ("L3", self.l3_bytes))
        quota = f", quota {self.quota_cores:g}" if self.quota_cores else ""
        return [
            ("processor", f"{self.cpu} ({self.architecture}, {self.isa})"),
            ("cores", f"{_known(self.physical_cores)} physical, {_known(self.logical_cores)} logical, "
                      f"{self.usable_cores} to use{quota}; torch uses {count(self.torch_threads, 'thread')}"),
            ("caches", ", ".join(f"{label} {_size(size)}" for label, size in caches)),
            ("memory", _size(self.memory_bytes)),
            ("peak, one core", self._rate("peak_core_gflops", "GFLOP/s")),
            ("peak, all", self._rate("peak_all_gflops", "GFLOP/s")),
            ("bandwidth, one thread", self._rate("bandwidth_core_gbs", "GB/s")),
            ("bandwidth, all", self._rate("bandwidth_gbs", "GB/s")),
            ("peak, bfloat16, one core", self._rate("bfloat16_core_gflops", "GFLOP/s", NO_PAIRS)),
            ("peak, bfloat16, all", self._rate("bfloat16_all_gflops", "GFLOP/s", NO_PAIRS)),
            ("matrix unit (AMX)", self.amx or "unknown"),
            ("peak, AMX, one core", self._rate("tiles_core_gflops", "GFLOP/s", NO_TILES)),
            ("peak, AMX, all", self._rate("tiles_all_gflops", "GFLOP/s", NO_TILES)),
            ("how", f"float32 multiply-adds in {_known(self.lanes)} lanes; triad over {_size(self.bandwidth_bytes)}, "
                    "12 bytes an element"),
            ("versions", ", ".join(f"{name} {version}" for name, version in self.versions.items() if version)),
            ("platform", self.platform),
            ("date", self.date),
        ]  # fmt: skip

    def _rate(self, name: str, unit: str, without: str = "could not be measured") -> str:
        value = getattr(self, name)
        if value is None:
            return without
        spread = self.spread.get(name)
        return f"{value:.1f} {unit}" + (f" (best; median {spread['median']:.1f})" if spread else "")

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)

    def _repr_html_(self) -> str:
        return html_table([("", ""), *self.rows()], "", "bp-hardware")


_LOCK = threading.Lock()
_RECORD: list[Hardware] = []


def hardware(refresh: bool = False) -> Hardware:
    """Describe and measure this machine: under 5 s the first time, then remembered for the process.

    `refresh=True` measures again; anything but a bool raises TypeError. Neighbours lower the rates, never raise them.
    Where the environment variable BLOCKPRUNE_HARDWARE names a file, the processes that have it measure once between
    them; a file of another machine, other versions or another number of threads is not used.
    """
    if not isinstance(refresh, bool):
        raise TypeError(f"refresh must be True or False; got {refresh!r}")
    with _LOCK:
        if refresh or not _RECORD:
            _RECORD[:] = [_measured(refresh)]
        return _RECORD[0]


def _measured(refresh: bool) -> Hardware:
    from .simd import LANES

    facts = processor()
    packages = ("numba", "numpy", "transformers", "blockprune-lib")
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    described = asdict(facts) | {
        "amx": amx_state(host_features()), "architecture": platform.machine(),
        "isa": isa_name(host_features(), platform.machine()), "lanes": LANES, "torch_threads": torch.get_num_threads(),
        "versions": versions | {name.replace("-", "_"): installed_version(name) for name in packages},
        "platform": f"{platform.system()} {platform.release().partition('-')[0]}",
    }  # fmt: skip
    kept = None if refresh else shared.read(described)
    if kept and kept.keys() == {field.name for field in fields(Hardware)}:
        return Hardware(**kept)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    found = Hardware(**described, **_measured_rates(facts), date=date)
    shared.write(found.to_dict())
    return found


def _measured_rates(facts: Processor) -> dict[str, Any]:
    from . import peak
    from .amx_tiles import HAS_TILES
    from .bursts import Spread
    from .pairs import HAS_PAIRS

    arrays = peak.triad_arrays(facts.last_level_bytes, facts.memory_bytes)
    spreads = {
        "peak_core_gflops": Spread.of(peak.MultiplyAdds(1).rates(40)),
        # More bursts, because it is rarer that all run undisturbed.
        "peak_all_gflops": Spread.of(peak.MultiplyAdds(facts.usable_cores, burst_seconds=0.002).rates(150)),
        "bandwidth_core_gbs": peak.triad_gbs(1, arrays),
        "bandwidth_gbs": peak.triad_gbs(facts.usable_cores, arrays, bursts=60),
    }
    units = {"bfloat16": "pairs"} if HAS_PAIRS else {}
    units |= {"tiles": "tiles"} if HAS_TILES else {}
    for name, unit in units.items():
        one = peak.MultiplyAdds(1, **{unit: True})
        every = peak.MultiplyAdds(facts.usable_cores, burst_seconds=0.002, **{unit: True})
        spreads[f"{name}_core_gflops"] = Spread.of(one.rates(40))
        spreads[f"{name}_all_gflops"] = Spread.of(every.rates(150))
    best = {name: spread.high for name, spread in spreads.items()}
    # All cores together cannot do less than one of them: where neighbours made it look so, the one is the better bound.
    for name in ("peak", *units):
        best[f"{name}_all_gflops"] = max(best[f"{name}_all_gflops"], best[f"{name}_core_gflops"])
    best["bandwidth_gbs"] = max(best["bandwidth_gbs"], best["bandwidth_core_gbs"])
    spread = {name: asdict(value) for name, value in spreads.items()}
    return best | {"spread": spread, "bandwidth_bytes": sum(array.nbytes for array in arrays)}


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    units = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
    return next((f"{size / factor:.3g} {unit}" for unit, factor in units if size >= factor), f"{size} B")


def _known(value: int | None) -> str:
    return "unknown" if value is None else str(value)
