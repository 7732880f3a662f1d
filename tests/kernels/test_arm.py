"""The kernels compiled for Arm and read: no Arm machine is needed, and none of this shows that they run well there.

Numba's code for this machine is given to LLVM's other back end; what an Arm processor would run is looked at as text.
"""

import platform
import re

import llvmlite.binding as llvm
import pytest

from blockprune_lib.kernels import gradients, layer_product
from blockprune_lib.machine.simd import WIDTH

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "amd64") or WIDTH != 8, reason="cross-compiled from an AVX2 machine"
)


def for_arm(worker) -> str:  # type: ignore[no-untyped-def]
    from numba import types
    from numba.core.ccallback import CFunc

    signature = types.void(types.CPointer(types.int64))
    native = CFunc(worker, (signature.args, signature.return_type), locals={}, options={})
    native.compile()
    text = native._library.get_llvm_str()
    text = re.sub(r"target triple = .*", 'target triple = "aarch64-unknown-linux-gnu"', text)
    text = re.sub(r"target datalayout = .*\n", "", text)
    # Counting references to arrays, which kernels do not do, is spelled for x86.
    text = re.sub(r"(%\S+ = )(tail )?call i8 @llvm\.x86\.atomic[^\n]*", r"\1add i8 0, 0", text)
    text = re.sub(r"\n[^\n]*call void @llvm\.x86\.sse2\.pause[^\n]*", "", text)  # a waiting thread's hint
    text = re.sub(r"declare (i8|void) @llvm\.x86[^\n]*", "", text)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this LLVM has no back end for Arm")
    return str(target.create_target_machine(cpu="neoverse-n1", opt=3).emit_assembly(llvm.parse_assembly(text)))


def inner_loops(assembly: str) -> list[list[str]]:
    """Loops without a loop inside them."""
    lines = assembly.splitlines()
    labels = {m.group(1): i for i, line in enumerate(lines) if (m := re.match(r"(\.LBB\w+):", line))}
    ends = [(labels[name], i) for i, line in enumerate(lines) for name in re.findall(r"(\.LBB\w+)", line)
            if "\t" in line and labels.get(name, i) < i]  # fmt: skip
    return [lines[a : b + 1] for a, b in ends if not any((a <= c and d < b) or (a < c and d <= b) for c, d in ends)]


def twelve_sums(worker) -> list[list[str]]:  # type: ignore[no-untyped-def]
    """The inner loops with 24 multiply-adds of four lanes a step: 12 sums of a pair of registers."""
    loops = [[line for line in loop if line.startswith("\t")] for loop in inner_loops(for_arm(worker))]
    return [loop for loop in loops if (n := sum("\tfmla" in line for line in loop)) and n % 24 == 0]


WORKERS = [layer_product.product_worker, gradients.gradient_worker]


@pytest.mark.parametrize("worker", WORKERS, ids=["product", "gradient"])
def test_the_tiles_stay_in_registers_and_are_fused_vector_instructions(worker) -> None:  # type: ignore[no-untyped-def]
    tiles = twelve_sums(worker)
    assert tiles
    assert any(not [line for line in tile if "[sp" in line] for tile in tiles)
    for tile in tiles:
        assert all(".4s" in line for line in tile if "\tfmla" in line)
        assert not [line for line in tile if "\tbl\t" in line]
