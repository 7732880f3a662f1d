"""What a kernel's innermost loop was compiled to: the instructions, and how many of them multiply, load or broadcast.

Read are x86-64 in AT&T order, and aarch64. What cannot be read gives an empty result and no error: nothing depends on
it. Left out: which of two versions of a loop runs where the compiler made both and chooses at run time.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from numba import types

from ..._common.tables import Printed, text_table
from ...machine.native import inner

_LABEL = re.compile(r"^(\.?L\w+):")
_JUMP = re.compile(r"^(?:j\w+|b(?:\.\w+)?|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.?L\w+)$")
_FUSED = re.compile(r"^(?:vfn?m(?:add|sub)\d+[ps]s|vdpbf16ps|fn?m(?:add|sub|l[as])\b)")
_MULTIPLY = re.compile(r"^(?:v?mul[ps]s|fmul)\b")
_X86_WIDTH = re.compile(r"%([xyz])mm")
_ARM_WIDTH = re.compile(r"\bv\d+\.(\d+)s")


@dataclass(frozen=True, repr=False)
class InnerLoop(Printed):
    """One turn of a loop: its instructions as text and counts; prints as a table. All zero where nothing was found.

    fused        fused multiply-adds on vectors, those of pairs too; `multiplies`: vector multiplications not fused
    scalar       both of these on one number instead of a vector
    loads        reads from memory, those inside arithmetic instructions and broadcasts too
    broadcasts   copies of one number into all lanes, from memory or a register
    stores       writes to memory; `others`: everything else
    lanes        float32 in one vector: the widest that multiplies
    """

    text: str = ""
    fused: int = 0
    multiplies: int = 0
    scalar: int = 0
    loads: int = 0
    broadcasts: int = 0
    stores: int = 0
    others: int = 0
    lanes: int = 0

    def __bool__(self) -> bool:
        return bool(self.text)

    @property
    def arithmetic(self) -> int:
        """Multiplications of a turn, counted in numbers and not in instructions."""
        return (self.fused + self.multiplies) * self.lanes + self.scalar

    def row(self) -> tuple[str, ...]:
        """The counts as a table's row: lanes, vector multiply-adds, scalar ones, loads, broadcasts, stores."""
        vector = self.fused + self.multiplies
        counts = (self.lanes or "–", vector, self.scalar, self.loads, self.broadcasts, self.stores)
        return tuple(str(count) for count in counts)

    def _table(self) -> list[tuple[str, ...]]:
        return [("", *HEAD), ("a turn", *self.row())]

    def _caption(self) -> str:
        return "Instructions of one turn of the loop"

    def __repr__(self) -> str:
        return text_table(self._table())


#: What `InnerLoop.row` counts: lanes of a vector, vector and scalar FMAs, loads, broadcasts and stores of one turn.
HEAD = ("lanes", "vector FMAs", "scalar FMAs", "loads", "broadcasts", "stores")


def inner_loop(kernel: Any, signed: bool = False) -> InnerLoop:
    """The innermost loop of a Numba kernel of the ladder that multiplies most; empty for anything else.

    The kernel is compiled once more, in this process: code from Numba's cache has no assembly to show. `signed` is for
    int32 columns instead of uint32, which the ladder does not use.
    """
    columns = types.int32[::1] if signed else types.uint32[::1]
    kinds = {"columns": columns, "offsets": types.int64[::1], "rows": types.int64[:, ::1]}
    try:
        options = {name: value for name, value in kernel.targetoptions.items() if name in ("fastmath", "nogil")}
        fresh = inner(kernel.py_func, **options)
        names = inspect.signature(kernel.py_func).parameters
        fresh.compile(tuple(kinds.get(name, types.float32[:, ::1]) for name in names))
        return read_loop("\n".join(fresh.inspect_asm().values()))
    except Exception:
        return InnerLoop()


def read_loop(assembly: str) -> InnerLoop:
    """Of the loops without a loop inside, the one that multiplies most numbers at a turn.

    >>> loop = read_loop(".LBB0_1:\\n vbroadcastss (%rdi), %ymm1\\n vfmadd231ps (%rsi), %ymm1, %ymm0\\n jne .LBB0_1")
    >>> loop.fused, loop.loads, loop.broadcasts, loop.lanes
    (1, 2, 1, 8)
    """
    counted = [_counted(lines) for lines in _innermost(_lines(assembly))]
    best = max(counted, key=lambda loop: loop.arithmetic, default=InnerLoop())
    return best if best.arithmetic else InnerLoop()


def _lines(assembly: str) -> list[str]:
    """Labels and instructions; no comments, no directives."""
    lines = (re.split(r"\s(?:#|//|;)", line)[0].strip() for line in assembly.splitlines())
    return [" ".join(line.split()) for line in lines if line and (_LABEL.match(line) or line[0].isalpha())]


def _innermost(lines: list[str]) -> Iterable[list[str]]:
    labels: dict[str, int] = {}
    loops: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if found := _LABEL.match(line):
            labels[found[1]] = number
        elif (found := _JUMP.match(line)) and found[1] in labels:
            loops.append((labels[found[1]], number))
    for begin, end in loops:
        if not any((b, e) != (begin, end) and begin <= b and e <= end for b, e in loops):
            yield lines[begin : end + 1]


def _counted(lines: list[str]) -> InnerLoop:
    counts = dict.fromkeys(("fused", "multiplies", "scalar", "loads", "broadcasts", "stores", "others"), 0)
    lanes = 0
    for line in lines:
        if _LABEL.match(line):
            continue
        name, _, operands = line.partition(" ")
        kinds, pair = set(_memory(name, operands)), 2 if name in ("ldp", "stp") else 1
        if "broadcast" in name or "{1to" in operands or name in ("ld1r", "dup"):
            kinds.add("broadcasts")
        if (fused := bool(_FUSED.match(name))) or _MULTIPLY.match(name):
            width = _width(name, operands)
            kinds.add("scalar" if width == 1 else "fused" if fused else "multiplies")
            lanes = max(lanes, width if width > 1 else 0)
        for kind in kinds or {"others"}:
            counts[kind] += pair if kind in ("loads", "stores") else 1
    return InnerLoop("\n".join(lines), **counts, lanes=lanes)


def _memory(name: str, operands: str) -> Iterable[str]:
    """Whether an instruction reads or writes memory: brackets on Arm, parentheses on x86, where the target is last."""
    if "[" in operands and "(" not in operands and "%" not in operands:
        if name.startswith(("ld", "st")):
            yield "loads" if name.startswith("ld") else "stores"
    elif "(" in operands and not name.startswith(("lea", "prefetch")):
        yield "stores" if operands.endswith(")") and "mov" in name else "loads"


def _width(name: str, operands: str) -> int:
    """Float32 that an arithmetic instruction works on: 1 where it ends on "single" or has no vector."""
    if found := _ARM_WIDTH.search(operands):
        return int(found[1])
    widths = [{"x": 4, "y": 8, "z": 16}[letter] for letter in _X86_WIDTH.findall(operands)]
    return 1 if name.endswith("ss") or not widths else max(widths)
