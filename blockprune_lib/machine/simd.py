"""A value type for Numba kernels: one vector register of float32, so that a kernel reads like its maths.

    @native
    def dot(a, b, out):
        total = zero()
        for i in range(0, len(a), LANES):
            total = fma(load(a, i), load(b, i), total)
        store(out, 0, total)

Locals of this type stay in registers; nothing here loops or allocates. `load` and `store` do *no* bounds check: look at
indices in Python, before the call. A width other than the machine's is asked for by a literal: `zero(4)`,
`broadcast(x, 4)`, `load(array, index, 4)`. The type is LLVM's (https://llvm.org/docs/LangRef.html#vector-type).

Compiled code holds `LANES` as a constant, and is kept on disk under the processor name and feature string that Numba
compiles for. `LANES` depends on that pair alone, so processes with other `LANES` never share an entry. Kernels must be
plain module-level functions: one made inside a factory misses the cache in every process.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.extending import intrinsic, register_model

__all__ = [
    "HAS_FMA", "LANES", "WIDTH", "Vector", "absolute", "broadcast", "divide", "fma", "load", "minimum", "store", "zero",
]  # fmt: skip


def compile_target() -> tuple[str, str]:
    """(processor name, feature string) that Numba compiles for and keys its cache on, NUMBA_CPU_* included."""
    name = config.CPU_NAME or llvm.get_host_cpu_name()
    features = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return str(name), str(features)


_PROBE = """
define void @probe(ptr %p, ptr %q) {
  %a = load <16 x float>, ptr %p, align 4
  %b = load <16 x float>, ptr %q, align 4
  %c = call <16 x float> @llvm.fmuladd.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %a)
  store <16 x float> %c, ptr %p, align 4
  ret void
}
declare <16 x float> @llvm.fmuladd.v16f32(<16 x float>, <16 x float>, <16 x float>)
"""


#: LLVM ends the process where a 64-bit program meets a processor name that it does not know, unless this is said.
_NO_FEATURES = "+64bit" if platform.machine().lower() in ("x86_64", "amd64") else ""


@lru_cache(maxsize=16)
def _probe(name: str, features: str) -> str:
    """Assembly for one 16-lane a * b + a: its registers show the width, its mnemonics the fused instruction."""
    typed = llvm.llvm_version_info[0] < 17  # older LLVM names what a pointer points to
    source = _PROBE.replace("ptr", "<16 x float>*") if typed else _PROBE
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(source)
    features = ",".join(part for part in (_NO_FEATURES, features) if part)
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=name, features=features, opt=2)
    return str(machine.emit_assembly(module))


def lanes_for(name: str, features: str) -> int:
    """Float32 lanes of the widest vector register that both the processor `name` and the `features` have: 16, 8 or 4.

    The name alone would trust a virtual machine that hides AVX-512; the features alone would ignore
    `NUMBA_CPU_NAME=haswell`, to which Numba adds the host's own. "generic" promises nothing: there the features decide.

    >>> lanes_for("generic", "")
    4
    """
    widths = [_width(_probe(name, features))]
    if name not in ("", "generic", "x86-64"):
        widths.append(_width(_probe(name, "")))
    return min(widths)


def _width(assembly: str) -> int:
    return 16 if "zmm" in assembly else 8 if "ymm" in assembly else 4


def has_fma(name: str, features: str) -> bool:
    """Whether a * b + c becomes one fused instruction there; elsewhere `fma` is a multiplication and an addition.

    >>> has_fma("generic", "") in (False, True)  # False on x86, True on Arm
    True
    """
    return any(word in _probe(name, features) for word in ("fmadd", "fmla"))


LANES: int = lanes_for(*compile_target())
HAS_FMA: bool = has_fma(*compile_target())
#: float32 numbers that a kernel handles at once on this machine: 16 with AVX-512, 8 with AVX2. A register of Arm
#: has 4, and kernels use them in pairs: 8.
WIDTH: int = 8 if HAS_FMA and LANES == 4 else LANES


class Vector(types.Type):
    """Numba type of one register: `lanes` float32 values."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"float32x{lanes}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.FloatType(), kind.lanes))


def _lanes(asked: Any) -> int:
    """The width of a typed optional argument: LANES where it is absent, else its literal value."""
    if asked is None or isinstance(asked, (types.NoneType, types.Omitted)):
        return LANES
    if isinstance(asked, types.IntegerLiteral) and asked.literal_value in (2, 4, 8, 16, 32):
        return int(asked.literal_value)
    raise TypingError(f"lanes must be a literal 2, 4, 8, 16 or 32; got {asked}")


def _given(lanes: Any) -> types.Type:
    """The type of the optional argument in a signature, which may not leave it out."""
    return types.none if lanes is None else lanes


def _checked_array(array: Any, caller: str) -> None:
    if not (isinstance(array, types.Array) and array.dtype == types.float32 and array.layout == "C"):
        raise TypingError(f"{caller} needs a C-contiguous float32 array; got {array}: ascontiguousarray makes one")


def _checked_index(index: Any, caller: str) -> None:
    if not isinstance(index, types.Integer):
        raise TypingError(f"{caller} needs an integer index; got {index}")


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: ir.Type) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _splat(builder: Any, scalar: Any, vector: ir.Type) -> Any:
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, cgutils.int32_t(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


@intrinsic(prefer_literal=True)
def zero(typing_context: Any, lanes: Any = None) -> Any:
    """zero() -> a vector of zeros."""
    vector = Vector(_lanes(lanes))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return vector(_given(lanes)), generate


@intrinsic(prefer_literal=True)
def broadcast(typing_context: Any, value: Any, lanes: Any = None) -> Any:
    """broadcast(x) -> x in every lane, rounded to float32 where x is wider."""
    if not isinstance(value, (types.Float, types.Integer)):
        raise TypingError(f"broadcast needs a number; got {value}")
    vector = Vector(_lanes(lanes))
    scalar = types.unliteral(value)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[0], scalar, types.float32)
        return _splat(builder, number, context.get_value_type(signature.return_type))

    return vector(scalar, _given(lanes)), generate


@intrinsic(prefer_literal=True)
def load(typing_context: Any, array: Any, index: Any, lanes: Any = None) -> Any:
    """load(array, index) -> the lanes that start at flat position `index` of a C-contiguous array (any alignment)."""
    _checked_array(array, "load")
    _checked_index(index, "load")
    vector = Vector(_lanes(lanes))
    position = types.unliteral(index)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        where = context.cast(builder, values[1], position, types.intp)
        return builder.load(_address(context, builder, array, values[0], where, kind), align=4)

    return vector(array, position, _given(lanes)), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """store(array, index, vector): writes its lanes from flat position `index` on (any alignment)."""
    _checked_array(array, "store")
    _checked_index(index, "store")
    if not array.mutable:
        raise TypingError(f"store needs an array that may be written; got {array}")
    if not isinstance(vector, Vector):
        raise TypingError(f"store needs a vector; got {vector}: broadcast makes one")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(vector)
        where = context.cast(builder, values[1], index, types.intp)
        builder.store(values[2], _address(context, builder, array, values[0], where, kind), align=4)
        return context.get_dummy_value()

    return types.none(array, index, vector), generate


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """fma(a, b, c) -> a * b + c lane by lane: rounded once where the processor fuses, twice where it does not.

    `llvm.fmuladd` and not `llvm.fma`, which without the instruction calls a C function a lane: a hundred times slower.
    """
    return _by_lane("fma", (a, b, c), partial(_call_llvm, "fmuladd"))


@intrinsic
def divide(typing_context: Any, a: Any, b: Any) -> Any:
    """divide(a, b) -> a / b lane by lane."""
    return _by_lane("divide", (a, b), lambda builder, values: builder.fdiv(*values))


@intrinsic
def minimum(typing_context: Any, a: Any, b: Any) -> Any:
    """minimum(a, b) -> the smaller lane by lane; b where either is NaN."""
    return _by_lane("minimum", (a, b), lambda build, values: build.select(build.fcmp_ordered("<", *values), *values))


@intrinsic
def absolute(typing_context: Any, a: Any) -> Any:
    """absolute(a) -> |a| lane by lane."""
    return _by_lane("absolute", (a,), partial(_call_llvm, "fabs"))


def _by_lane(name: str, vectors: tuple[Any, ...], generate: Callable[[Any, Any], Any]) -> Any:
    """An intrinsic that takes vectors of one width and returns another."""
    first = vectors[0]
    if not (isinstance(first, Vector) and all(vector == first for vector in vectors)):
        raise TypingError(f"{name} needs vectors of one width; got {', '.join(map(str, vectors))}")
    return first(*vectors), lambda context, builder, signature, values: generate(builder, values)


def _call_llvm(name: str, builder: Any, values: Any) -> Any:
    """A function of LLVM's for vectors; its name is mangled by hand because llvmlite mangles no vectors."""
    kind = values[0].type
    full_name, declared = f"llvm.{name}.v{kind.count}f32", ir.FunctionType(kind, [kind] * len(values))
    return builder.call(cgutils.get_or_insert_function(builder.module, declared, full_name), values)
