"""The machine's record: facts read from made-up machines, the roofline against its formula, and what it prints."""

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockprune_lib as bp
from blockprune_lib.machine import cpu as _cpu
from blockprune_lib.machine import peak as _peak
from blockprune_lib.machine.bursts import Spread, seconds_together
from blockprune_lib.machine.passport import _RECORD, Hardware

RECORD = Hardware(
    cpu="Example <1>",
    architecture="x86_64",
    isa="AVX2+FMA",
    physical_cores=4,
    logical_cores=8,
    usable_cores=4,
    quota_cores=None,
    torch_threads=4,
    l1d_bytes=32 * 1024,
    l2_bytes=512 * 1024,
    l3_bytes=None,
    memory_bytes=8 * 2**30,
    lanes=8,
    peak_core_gflops=100.0,
    peak_all_gflops=320.0,
    bandwidth_core_gbs=20.0,
    bandwidth_gbs=50.0,
    bandwidth_bytes=128 * 2**20,
    spread={"peak_core_gflops": {"low": 90.0, "median": 95.0, "high": 100.0}},
    versions={"python": "3.11", "torch": "2.6", "numba": None, "blockprune_lib": "0.1.0"},
    platform="Linux",
    date="2026-01-02T03:04:05+00:00",
)
work = st.floats(0, 1e18)


@pytest.fixture(scope="module")
def measured() -> Hardware:
    return bp.hardware()


def test_the_measured_record_is_whole_and_consistent(measured):
    json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert measured.to_dict().keys() == {field.name for field in dataclasses.fields(Hardware)}
    assert measured.usable_cores >= 1
    assert measured.peak_all_gflops >= measured.peak_core_gflops > 0
    assert measured.bandwidth_gbs >= measured.bandwidth_core_gbs > 0
    for values in measured.spread.values():
        assert 0 < values["low"] <= values["median"] <= values["high"]
    assert measured.versions["numba"]
    assert measured.versions["blockprune_lib"]


def test_remembered_until_asked_again(measured, monkeypatch):
    assert bp.hardware() is measured
    monkeypatch.setattr(_peak.MultiplyAdds, "rates", lambda *_: [1.0, 2.0, 3.0])
    monkeypatch.setattr(_peak, "triad_gbs", lambda *_, **__: Spread(4.0, 5.0, 6.0))
    monkeypatch.setattr(_peak, "triad_arrays", lambda *_: (np.zeros(1),) * 3)
    again = bp.hardware(refresh=True)
    assert (again.peak_all_gflops, again.bandwidth_gbs) == (3.0, 6.0)
    assert bp.hardware() is again
    _RECORD[:] = [measured]


@given(work, work, st.integers(1, 12))
def test_roofline_is_the_lower_of_two_limits(flops, moved, threads):
    if flops == moved == 0:
        return
    found = RECORD.roofline(flops, moved, threads=threads)
    peak, bandwidth = (320, 50) if threads >= 4 else (min(100 * threads, 320), min(20 * threads, 50))
    assert found.threads == threads
    assert found.ridge == pytest.approx(peak / bandwidth)
    assert found.ms == pytest.approx(max(flops / peak, moved / bandwidth) / 1e6)
    if moved and flops:
        assert found.gflops == pytest.approx(min(peak, flops / moved * bandwidth))
        assert found.bound == ("memory" if flops / moved < peak / bandwidth else "arithmetic")


def test_roofline_at_its_ends():
    everything = RECORD.roofline(320e9, 0)
    assert (everything.gflops, everything.ms, everything.bound) == (320, 1000, "arithmetic")
    assert math.isinf(everything.intensity)
    moving = RECORD.roofline(0, 50e9)
    assert (moving.gflops, moving.ms, moving.bound, moving.threads) == (0, 1000, "memory", 4)
    assert "limited by memory" in repr(moving)
    assert RECORD.roofline(np.float32(1), np.int64(1), threads=np.int64(2)).threads == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1, 1), ValueError, "flops must be a finite number at least 0; got -1"),
        ((1, math.nan), ValueError, "bytes"),
        ((math.inf, 1), ValueError, "flops"),
        ((0, 0), ValueError, "flops or bytes must be positive; got 0 for both"),
        (("1", 1), TypeError, "flops must be a number; got '1'"),
        ((1, True), TypeError, "bytes"),
    ],
)
def test_roofline_refuses_impossible_work(arguments, error, message):
    with pytest.raises(error, match=message):
        RECORD.roofline(*arguments)


@pytest.mark.parametrize(("threads", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError), (True, TypeError)])
def test_roofline_refuses_impossible_threads(threads, error):
    with pytest.raises(error, match="threads"):
        RECORD.roofline(1, 1, threads=threads)


def test_measured_operations_are_placed_under_the_roof():
    placed = RECORD.place({"slope": (1e9, 1e9, 100.0), "top": (320e9, 1e6, 2000.0)}, threads=4)
    slope, top = placed.points["slope"], placed.points["top"]
    assert (slope.gflops, slope.share_of_peak, slope.share_of_roof, slope.bound) == pytest.approx(
        (10, 10 / 320, 0.2, "memory")
    )
    assert (top.gflops, top.share_of_peak, top.share_of_roof, top.bound) == (160, 0.5, 0.5, "arithmetic")
    assert "FLOP per byte" in repr(placed)
    assert repr(placed).endswith("roofline of 4 threads")
    assert "<th scope='row'>slope</th>" in placed._repr_html_()


@pytest.mark.parametrize("points", [{}, {"a": (1, 1, 0)}, {"a": (1, 1, math.nan)}, {"a": (0, 0, 1)}])
def test_impossible_points_are_refused(points):
    with pytest.raises(ValueError, match=r"points|flops"):
        RECORD.place(points)


def test_what_was_not_measured_is_said_and_not_used():
    unknown = dataclasses.replace(RECORD, peak_core_gflops=None, peak_all_gflops=None, lanes=None, memory_bytes=None)
    with pytest.raises(ValueError, match="could not be measured"):
        unknown.roofline(1, 1)
    assert "could not be measured" in repr(unknown)
    assert "GFLOP/s" not in unknown.passport()
    assert "unknown" in repr(unknown)


def test_prints_and_escapes():
    assert "100.0 GFLOP/s (best; median 95.0)" in repr(RECORD)
    assert "L1d 32 KiB, L2 512 KiB, L3 unknown" in repr(RECORD)
    assert "Example &lt;1&gt;" in RECORD._repr_html_()
    assert "\n" not in RECORD.passport()
    assert RECORD.passport().endswith("2026-01-02")
    assert "128 MiB" in repr(RECORD)


def test_refresh_must_be_a_bool():
    with pytest.raises(TypeError, match="refresh"):
        bp.hardware(refresh="yes")


# --- facts, from made-up machines ------------------------------------------------------------------------------


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


CPUINFO = "processor\t: 0\nmodel name\t: Example   CPU @ 3 GHz\nflags : fpu avx2\n\nprocessor\t: 1\n"
CACHE = "sys/devices/system/cpu/cpu{}/cache/index{}/"
LINUX = {
    "proc/cpuinfo": CPUINFO,
    "proc/meminfo": "MemFree: 1 kB\nMemTotal:       1000 kB\n",
    "proc/self/cgroup": "0::/\n",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu2/topology/thread_siblings_list": "2\n",
}


def caches(cpu: int) -> dict[str, str]:
    levels = [("1", "Data", "32K"), ("1", "Instruction", "64K"), ("2", "Unified", "1024K"), ("3", "Unified", "32M")]
    return {
        CACHE.format(cpu, i) + key: value
        for i, row in enumerate(levels)
        for key, value in zip(("level", "type", "size"), row, strict=True)
    }


def read(root: Path) -> _cpu.Processor:
    return _cpu.processor(root, "linux")


def test_an_ordinary_linux_machine(tmp_path):
    first = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    found = read(write(tmp_path, LINUX | caches(first)))
    assert found.cpu == "Example CPU @ 3 GHz"
    assert found.physical_cores == 2
    assert (found.l1d_bytes, found.l2_bytes, found.l3_bytes) == (32 << 10, 1 << 20, 32 << 20)
    assert found.memory_bytes == 1_024_000
    assert found.quota_cores is None


def test_an_empty_root_gives_none_and_no_error(tmp_path):
    found = read(tmp_path)
    assert found.usable_cores >= 1
    assert found.cpu
    assert (found.physical_cores, found.l1d_bytes, found.memory_bytes, found.quota_cores) == (None,) * 4


def test_an_arm_board_without_model_name_and_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "proc/meminfo").mkdir(parents=True)
    found = read(write(tmp_path, {"proc/cpuinfo": "CPU part : 0xd0c\nModel : Raspberry Pi 5\n"}))
    assert found.cpu == "Raspberry Pi 5"
    assert found.memory_bytes is None


@given(text=st.text(max_size=60))
def test_strange_files_never_raise(tmp_path_factory, text):
    root = tmp_path_factory.mktemp("root")
    for name in (*LINUX, "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/memory.max", CACHE.format(0, 0) + "size"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read(root).usable_cores >= 1


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"sys/fs/cgroup/cpu.max": "junk"}, None),
        ({"sys/fs/cgroup/cpu.max": "100000 0"}, None),
        # version 2, nested: the parent is tighter than the group itself
        (
            {
                "proc/self/cgroup": "0::/user/app\n",
                "sys/fs/cgroup/user/cpu.max": "200000 100000",
                "sys/fs/cgroup/user/app/cpu.max": "400000 100000",
            },
            2.0,
        ),
        # version 1, controllers joined and mounted under either name
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        # the path is outside this container's own view
        ({"proc/self/cgroup": "0::/../../other\n", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0),
    ],
)
def test_processor_quota_of_control_groups(tmp_path, files, quota):
    assert _cpu.cpu_quota(write(tmp_path, files)) == quota


def test_memory_limit_of_control_groups(tmp_path):
    limited = write(tmp_path / "a", LINUX | {"sys/fs/cgroup/memory.max": "500000"})
    assert read(limited).memory_bytes == 500_000
    unlimited = write(tmp_path / "b", LINUX | {"sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096)})
    assert read(unlimited).memory_bytes == 1_024_000


@given(st.integers(1, 256), st.one_of(st.none(), st.floats(0.01, 300)))
def test_usable_cores_stay_within_the_quota(allowed, quota):
    found = _cpu.usable_cores(allowed, quota)
    assert 1 <= found <= allowed
    if quota is not None and quota >= 1:
        assert found <= quota


def test_macos():
    answers = {
        "machdep.cpu.brand_string": "Apple M2",
        "hw.physicalcpu": "8",
        "hw.logicalcpu": "8",
        "hw.perflevel0.l1dcachesize": "131072",
        "hw.l1dcachesize": "65536",
        "hw.perflevel0.l2cachesize": "16777216",
        "hw.memsize": "17179869184",
    }
    found = _cpu._macos(lambda name: answers.get(name, ""))
    assert (found.cpu, found.physical_cores, found.usable_cores) == ("Apple M2", 8, 8)
    assert (found.l1d_bytes, found.l2_bytes, found.l3_bytes) == (131072, 16777216, None)
    assert _cpu._macos(lambda name: "").usable_cores >= 1


def test_sysctl_that_is_not_there_or_fails(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert _cpu._sysctl("hw.memsize") == ""


@pytest.mark.parametrize(
    ("features", "architecture", "name"),
    [
        (("avx512f", "avx2", "fma", "avx", "sse2"), "x86_64", "AVX-512"),
        (("avx2", "fma"), "x86_64", "AVX2+FMA"),
        (("avx2",), "x86_64", "AVX2"),
        (("avx", "sse2"), "x86_64", "AVX"),
        (("sse2",), "i686", "SSE2"),
        ((), "x86_64", "SSE2"),
        ((), "arm64", "NEON"),
        (("neon",), "aarch64", "NEON"),
        ((), "riscv64", "unknown"),
    ],
)
def test_names_of_instruction_sets(features, architecture, name):
    assert _cpu.isa_name(dict.fromkeys(features, True), architecture) == name


# --- the loops that are timed ----------------------------------------------------------------------------------


def test_the_timed_loops_do_the_work_that_is_counted():
    out = np.zeros(_peak.CHAINS * _peak.WIDTH, "f")
    _peak._multiply_add(out, 2)
    start = np.repeat(np.arange(1, _peak.CHAINS + 1), _peak.WIDTH)
    np.testing.assert_array_equal(out, (start * 0.5 + 0.25) * 0.5 + 0.25)
    a, b, c = (_peak.aligned(64, value) for value in (0, 2, 5))
    _peak._triad(a, b, c, 16, 48)
    np.testing.assert_array_equal(a, np.r_[np.zeros(16), np.full(32, 17), np.zeros(16)])


@pytest.mark.parametrize(("cache", "memory"), [(None, None), (0, 1000), (2**40, 2**40), (32 << 20, 2**30)])
def test_triad_arrays_are_bounded_and_aligned(cache, memory, monkeypatch):
    monkeypatch.setattr(_peak, "aligned", lambda elements, value: np.broadcast_to(np.float32(value), elements))
    total = sum(array.size * 4 for array in _peak.triad_arrays(cache, memory))
    assert total <= max((memory or 2**31) / 8, 12 * _peak.LANES * os.cpu_count())
    assert total <= 256 * 2**20


def test_aligned_arrays_start_at_a_cache_line():
    for elements in (1, 7, 64, 1000):
        array = _peak.aligned(elements, 2.5)
        assert array.ctypes.data % 64 == 0
        assert np.all(array == 2.5)
        assert array.size == elements


def test_threads_start_together_and_their_errors_come_out():
    calls = []
    seconds = seconds_together(calls.append, 2, 3)
    assert sorted(calls) == [0, 0, 0, 1, 1, 1]
    assert len(seconds) == 3
    assert min(seconds) >= 0

    def fail(thread: int) -> None:
        if thread == 1:
            raise ArithmeticError("thread 1")

    with pytest.raises(ArithmeticError, match="thread 1"):
        seconds_together(fail, 2, 3)
    with pytest.raises(ValueError, match="arrays must hold"):
        _peak.triad_gbs(64, (np.zeros(64, "f"),) * 3)
