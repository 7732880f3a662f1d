"""The vector type: arithmetic against NumPy, the width chosen for each processor, and the compile cache."""

import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError

from blockprune_lib.machine import simd
from blockprune_lib.machine.simd import LANES, absolute, broadcast, divide, fma, load, minimum, store, zero

finite = st.floats(-1e3, 1e3, width=32)


@njit
def multiply_add(a, b, c, out):
    for i in range(0, a.size, LANES):
        store(out, i, fma(load(a, i), load(b, i), load(c, i)))


@njit
def constants(x, out):
    store(out, 0, broadcast(x))
    store(out, LANES, zero())


@njit
def narrow(a, start, out):
    store(out, 0, fma(load(a, start, 4), broadcast(2, 4), zero(4)))


@njit
def wide(a, out):
    store(out, 0, load(a, 0, 32))


@njit
def in_a_tuple(a, out):
    total = (zero(), zero())
    for i in range(0, a.size, 2 * LANES):
        total = (fma(load(a, i), broadcast(1), total[0]), fma(load(a, i + LANES), broadcast(1), total[1]))
    store(out, 0, fma(total[0], broadcast(1), total[1]))


@njit
def quotient_smaller_size(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out, 0, divide(x, y))
    store(out, LANES, minimum(x, y))
    store(out, 2 * LANES, absolute(x))


@given(st.lists(finite, min_size=2 * LANES, max_size=2 * LANES))
def test_divide_minimum_and_absolute_agree_with_numpy(values):
    a, b = np.array(values[:LANES], "f"), np.array(values[LANES:], "f")
    b[b == 0] = 1
    out = np.zeros(3 * LANES, "f")
    quotient_smaller_size(a, b, out)
    with np.errstate(over="ignore"):  # 10 / 3e-38 is infinite, here and there
        expected = np.concatenate([a / b, np.minimum(a, b), np.abs(a)])
    np.testing.assert_array_equal(out, expected)


def test_minimum_takes_the_second_where_either_is_nan():
    a, b, out = np.full(LANES, np.nan, "f"), np.ones(LANES, "f"), np.zeros(3 * LANES, "f")
    quotient_smaller_size(a, b, out)
    assert (out[LANES : 2 * LANES] == 1).all()
    quotient_smaller_size(b, a, out)
    assert np.isnan(out[LANES : 2 * LANES]).all()


@given(st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=7), st.integers(0, 3))
def test_multiply_add_agrees_with_numpy_at_any_alignment(rows, shift):
    a, b, c = (
        np.resize(np.array(column, "f"), len(rows) * LANES + shift)[shift:] for column in zip(*rows, strict=True)
    )
    out = np.full(a.size, np.nan, "f")
    multiply_add(a, b, c, out)
    exact = a.astype("d") * b + c
    float32 = np.finfo("f")
    rounding = float32.eps * (abs(a.astype("d") * b) + abs(exact)) + 2 * float32.smallest_subnormal  # one or two
    assert np.all(np.abs(out - exact) <= rounding)


def test_special_values_go_through():
    a = np.resize(np.array([np.inf, -np.inf, np.nan, -0.0, 1e-45, 3e38], "f"), 3 * LANES)
    out = np.empty_like(a)
    multiply_add(a, np.ones_like(a), np.zeros_like(a), out)
    np.testing.assert_array_equal(out, a)


@pytest.mark.parametrize("value", [3, 0.1, np.float32(0.1), True, -7])
def test_broadcast_rounds_to_float32(value):
    out = np.full(2 * LANES, np.nan, "f")
    if isinstance(value, bool):
        with pytest.raises(TypingError, match="broadcast needs a number"):
            constants(value, out)
        return
    constants(value, out)
    np.testing.assert_array_equal(out, np.r_[np.full(LANES, np.float32(value)), np.zeros(LANES)].astype("f"))


def test_literal_widths_and_flat_positions():
    a = np.arange(24, dtype="f").reshape(6, 4)
    out = np.zeros(4, "f")
    narrow(a, 7, out)
    np.testing.assert_array_equal(out, [14, 16, 18, 20])
    out = np.zeros(32, "f")
    wide(np.arange(40, dtype="f"), out)
    np.testing.assert_array_equal(out, np.arange(32))


def test_vectors_live_in_tuples():
    a = np.arange(6 * LANES, dtype="f")
    out = np.zeros(LANES, "f")
    in_a_tuple(a, out)
    np.testing.assert_array_equal(out, a.reshape(6, LANES).sum(0))


def test_multiply_add_is_one_instruction_where_the_processor_has_it():
    multiply_add(*(np.zeros(LANES, "f") for _ in range(4)))
    (assembly,) = multiply_add.inspect_asm().values()
    assert any(word in assembly for word in ("vfmadd", "fmla")) == simd.HAS_FMA
    assert "fmaf" not in assembly  # no call into the C library


@njit
def store_a_number(out):
    store(out, 0, 1.0)


@njit
def mix_widths(out):
    store(out, 0, fma(zero(4), zero(8), zero(4)))


@njit
def float_index(a):
    return load(a, 0.5) is None


@njit
def free_width(a, n, out):
    store(out, 0, load(a, 0, n))


@njit
def broadcast_array(a, out):
    store(out, 0, broadcast(a))


def read_only() -> np.ndarray:
    array = np.zeros(LANES, "f")
    array.flags.writeable = False
    return array


F32 = np.zeros(64, "f")


@pytest.mark.parametrize(
    ("kernel", "arguments", "message"),
    [
        (multiply_add, (F32.astype("d"), F32, F32, F32), "C-contiguous float32"),
        (multiply_add, (F32[::2], F32, F32, F32), "C-contiguous float32"),
        (multiply_add, (F32, F32, F32, np.zeros((8, 8), "f").T), "C-contiguous float32"),
        (multiply_add, (F32, F32, F32, read_only()), "may be written"),
        (store_a_number, (F32,), "needs a vector"),
        (mix_widths, (F32,), "one width"),
        (float_index, (F32,), "integer index"),
        (free_width, (F32, 5, F32), "literal"),
        (broadcast_array, (F32, F32), "needs a number"),
    ],
)
def test_wrong_use_is_refused_when_compiling(kernel, arguments, message):
    with pytest.raises(TypingError, match=message):
        kernel(*arguments)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "amd64"), reason="x86 names")
@pytest.mark.parametrize(
    ("name", "features", "lanes", "fused"),
    [
        ("haswell", "", 8, True),
        ("haswell", "+avx512f,+avx2,+fma", 8, True),  # Numba adds the host's features to a name: the name limits them
        ("skylake-avx512", "", 16, True),
        ("skylake-avx512", "-avx512f", 8, True),  # a virtual machine that hides AVX-512
        ("icelake-server", "+avx512f,+avx2,+fma", 16, True),
        ("sandybridge", "", 8, False),
        ("generic", "", 4, False),
        ("generic", "+avx2,+fma", 8, True),  # an unknown processor: its features are all we know
        ("nehalem", "", 4, False),
    ],
)
def test_width_of_known_processors(name, features, lanes, fused):
    assert simd.lanes_for(name, features) == lanes
    assert simd.has_fma(name, features) == fused


KERNEL = """
import sys
import numpy as np
from numba import njit
from blockprune_lib.machine.simd import LANES, broadcast, load, store

@njit(cache=True)
def copy(a, out):
    store(out, 0, load(a, 0))

if __name__ == "__main__":
    out = np.zeros(16, "f")
    copy(np.arange(16, dtype="f"), out)
    assert out.tolist() == [*range(LANES), *[0] * (16 - LANES)], out
    print(LANES, sum(copy.stats.cache_hits.values()), sum(copy.stats.cache_misses.values()))
"""


def run_kernel(script: Path, **environment: str) -> list[int]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    inherited["NUMBA_CACHE_DIR"] = str(script.parent / "cache")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "amd64"), reason="x86 names")
def test_cache_hits_in_another_process_and_never_across_widths(tmp_path):
    script = tmp_path / "kernel.py"
    script.write_text(textwrap.dedent(KERNEL))
    assert run_kernel(script) == [simd.lanes_for(*host()), 0, 1]
    assert run_kernel(script) == [simd.lanes_for(*host()), 1, 0]
    assert run_kernel(script, NUMBA_CPU_NAME="generic") == [4, 0, 1]
    assert run_kernel(script, NUMBA_CPU_NAME="generic") == [4, 1, 0]


def host() -> tuple[str, str]:
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def test_importing_the_package_does_not_import_numba():
    code = "import sys, blockprune_lib; assert not {'numba', 'transformers', 'datasets', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
