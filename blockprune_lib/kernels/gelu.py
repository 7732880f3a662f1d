"""GELU in vectors: what follows a product while its results are still in L1.

    gelu(x) = x Φ(x) = max(x, 0) - a Q(a),    a = |x|,    Q(a) = 1 - Φ(a) ≈ 1 / (2 (1 + c1 a + ... + c7 a⁷)¹⁶)

The exact form that BERT uses, with the error function, not the tanh approximation. A high power of a polynomial falls
off as a tail does (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.28); the coefficients here are fitted
so that a Q(a) is off by at most 5e-8, and float32 by at most 5e-7 for |x| <= 12. Minus infinity gives NaN, as in
torch. Left out: other activations, and gradients (training keeps what it needs of torch's own).
"""

from __future__ import annotations

from typing import Any

from ..machine.native import inner
from ..machine.simd import WIDTH, absolute, broadcast, divide, fma, minimum

C1, C2, C3, C4 = 0.04986909678258002, 0.02112751479048708, 0.003313302286772887, -5.150257468923558e-06
C5, C6, C7 = 7.478648053280308e-05, -2.073590445850204e-06, 8.168986899807773e-07

#: a Q(a) is zero in float32 long before; infinity would make it NaN.
FAR = 20.0


@inner(forceinline=True)
def gelu(x: Any) -> Any:
    """gelu(x) of one vector."""
    zero, half = broadcast(0.0, WIDTH), broadcast(0.5, WIDTH)
    a = absolute(x)
    near = minimum(a, broadcast(FAR, WIDTH))
    p = fma(broadcast(C7, WIDTH), near, broadcast(C6, WIDTH))
    p = fma(p, near, broadcast(C5, WIDTH))
    p = fma(p, near, broadcast(C4, WIDTH))
    p = fma(p, near, broadcast(C3, WIDTH))
    p = fma(p, near, broadcast(C2, WIDTH))
    p = fma(p, near, broadcast(C1, WIDTH))
    p = fma(p, near, broadcast(1.0, WIDTH))
    p = fma(p, p, zero)
    p = fma(p, p, zero)
    p = fma(p, p, zero)
    p = fma(p, p, zero)
    tail = divide(fma(broadcast(-0.5, WIDTH), near, zero), p)
    return fma(half, a, fma(half, x, tail))
