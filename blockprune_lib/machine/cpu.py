"""What Linux (`/proc`, `/sys`, control groups 1 and 2) and macOS (`sysctl`) say about the processor.

What cannot be read is None, never an error: containers and virtual machines hide or invent a good part of this.
"""

from __future__ import annotations

import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Processor:
    """Facts that nobody measured: cores as counts, caches and memory in bytes, None where unknown."""

    cpu: str
    physical_cores: int | None
    logical_cores: int | None
    usable_cores: int
    quota_cores: float | None
    l1d_bytes: int | None
    l2_bytes: int | None
    l3_bytes: int | None
    memory_bytes: int | None

    @property
    def last_level_bytes(self) -> int | None:
        """Of the largest cache that is known."""
        return self.l3_bytes or self.l2_bytes


def processor(root: Path = ROOT, system: str = sys.platform) -> Processor:
    """Read the facts of this machine; `root` stands for / so that tests can bring machines of their own."""
    if system == "darwin":
        return _macos(_sysctl)
    affinity = _affinity()
    quota = cpu_quota(root)
    caches = _linux_caches(root, min(affinity) if affinity else 0)
    siblings = {_text(path) for path in _glob(root, "sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list")}
    total = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    memory = [size for size in (total and int(total[1]) * 1024, _group_memory(root)) if size]
    return Processor(
        cpu=_linux_name(root), physical_cores=len(siblings - {""}) or None, logical_cores=os.cpu_count(),
        usable_cores=usable_cores(len(affinity) or (os.cpu_count() or 1), quota), quota_cores=quota,
        l1d_bytes=caches.get(1), l2_bytes=caches.get(2), l3_bytes=caches.get(3), memory_bytes=min(memory, default=None),
    )  # fmt: skip


def usable_cores(allowed: int, quota: float | None) -> int:
    """Cores worth a thread each: a quota of 1.5 cores counts as 1, because the second thread would stall the first.

    >>> usable_cores(8, None), usable_cores(8, 1.5), usable_cores(8, 0.5)
    (8, 1, 1)
    """
    return max(1, allowed if quota is None else min(allowed, math.floor(quota)))


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores that the control groups of this process grant (the least along the path), None where there is no limit."""
    found = []
    for folder in _group_folders(root, "cpu"):
        limit = _text(folder / "cpu.max").split()
        if len(limit) != 2:
            limit = [_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")]
        quota, period = _number(limit[0]), _number(limit[1])
        if quota and period and quota > 0:
            found.append(quota / period)
    return min(found, default=None)


def _group_memory(root: Path) -> int | None:
    folders = _group_folders(root, "memory")
    limits = [_number(_text(at / "memory.max")) or _number(_text(at / "memory.limit_in_bytes")) for at in folders]
    # Version 1 writes a huge number for "no limit".
    return min((limit for limit in limits if limit and limit < 2**60), default=None)


def _group_folders(root: Path, controller: str) -> list[Path]:
    """The folders of this process's control groups, innermost first, up to the mount of the controller."""
    mounts = [(root / "sys/fs/cgroup", "/"), (root / "sys/fs/cgroup" / controller, "/")]
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            mounts.append((root / "sys/fs/cgroup", path))
        elif controller in controllers.split(","):
            mounts += [(root / "sys/fs/cgroup" / name, path) for name in (controllers, controller)]
    folders = []
    for mount, path in mounts:
        parts = [part for part in path.split("/") if part not in ("", "..", ".")]
        folders += [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return list(dict.fromkeys(folders))


def isa_name(features: Mapping[str, bool], architecture: str) -> str:
    """Name of the widest float32 vector instructions among LLVM's feature names.

    >>> isa_name({"avx2": True, "fma": True, "avx512f": False}, "x86_64")
    'AVX2+FMA'
    """
    if architecture.lower() in ("arm64", "aarch64"):
        return "NEON"
    widest_first = {"AVX-512": ["avx512f"], "AVX2+FMA": ["avx2", "fma"], "AVX2": ["avx2"], "AVX": ["avx"]}
    for name, needed in widest_first.items():
        if all(features.get(feature, False) for feature in needed):
            return name
    return "SSE2" if features.get("sse2") or architecture.lower() in ("x86_64", "amd64") else "unknown"


def host_features() -> Mapping[str, bool]:
    """LLVM's feature names of this processor; empty where LLVM does not know it."""
    with suppress(ImportError, RuntimeError):
        import llvmlite.binding

        return dict(llvmlite.binding.get_host_cpu_features())
    return {}


def _affinity() -> list[int]:
    with suppress(AttributeError, OSError):
        return sorted(os.sched_getaffinity(0))
    return []


def _linux_name(root: Path) -> str:
    text = _text(root / "proc/cpuinfo")
    for key in ("model name", "Model", "Hardware", "cpu model"):
        if found := re.search(rf"^{key}\s*:\s*(\S.*)$", text, re.MULTILINE):
            return " ".join(found.group(1).split())
    return platform.processor() or platform.machine() or "unknown processor"


def _linux_caches(root: Path, cpu: int) -> dict[int, int]:
    """Bytes of the data cache of each level, as the given logical core sees it."""
    found: dict[int, int] = {}
    for folder in _glob(root, f"sys/devices/system/cpu/cpu{cpu}/cache/index[0-9]*"):
        level, size = _number(_text(folder / "level")), re.fullmatch(r"(\d+)([KMG]?)", _text(folder / "size"))
        if level and size and _text(folder / "type") in ("Data", "Unified"):
            found[level] = int(size.group(1)) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[size.group(2)]
    return found


def _macos(read: Callable[[str], str]) -> Processor:
    def number(*names: str) -> int | None:
        return next((value for name in names if (value := _number(read(name)))), None)

    logical = number("hw.logicalcpu") or os.cpu_count()
    return Processor(
        cpu=read("machdep.cpu.brand_string") or platform.processor() or "unknown processor",
        physical_cores=number("hw.physicalcpu"), logical_cores=logical, usable_cores=logical or 1, quota_cores=None,
        l1d_bytes=number("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"),
        l2_bytes=number("hw.perflevel0.l2cachesize", "hw.l2cachesize"),
        l3_bytes=number("hw.perflevel0.l3cachesize", "hw.l3cachesize"), memory_bytes=number("hw.memsize"),
    )  # fmt: skip


def _sysctl(name: str) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()
    return ""


def _glob(root: Path, pattern: str) -> list[Path]:
    with suppress(OSError):
        return sorted(root.glob(pattern))
    return []


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _number(text: str) -> int | None:
    with suppress(ValueError):
        return int(text)
    return None
