"""Waiting for other threads inside a kernel: a thread spins on a counter, and after a while lets others run."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..machine.native import inner

#: How often a waiting thread looks again before it yields to others.
SPINS = 2000

_let_others_run = types.ExternalFunction("sched_yield", types.int32())


@inner
def wait_for(counters: Any, place: int, wanted: int) -> None:
    """Wait until counters[place] is at least `wanted`: what others wrote before they counted is visible then."""
    spins = 0
    while seen(counters, place) < wanted:
        _pause()
        spins += 1
        if spins > SPINS:
            _let_others_run()


@intrinsic
def seen(typing_context: Any, array: Any, index: Any) -> Any:
    """seen(array, index): array[index], by an atomic load: what another thread wrote before it is visible then too."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        where = context.cast(builder, values[1], index, types.intp)
        return builder.load_atomic(builder.gep(data, [where]), "acquire", 8)

    return types.int64(array, index), generate


@intrinsic
def _pause(typing_context: Any) -> Any:
    """Tell the processor that this thread is only waiting."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), generate
