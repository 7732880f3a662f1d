"""The register tiles of panels: R tokens times V vectors of neighbouring outputs, all R x V sums in registers.

Each step of the inner loop loads V vectors of weights, broadcasts R numbers of x and does R x V fused multiply-adds.
With 16 registers 6 x 2 is the best there is: 12 sums, 2 vectors and 1 broadcast; and 12 sums that do not wait for each
other keep two multiply-add units busy. Where a panel is one vector wide, 12 x 1 does the same. The smaller tiles take
the edges.

x lies packed: the six tokens of a tile side by side, input after input (see `transpose`), so that a step reads one or
two cache lines of x; w is asked for AHEAD steps early.

Left out: which tile goes where (`panels`), row groups (`row_tiles`), and every check of an index (`plan`).
"""

from __future__ import annotations

from typing import Any

from ..machine.native import inner
from ..machine.simd import WIDTH, broadcast, fma, load, store
from .intrinsics import element, prefetch

#: Steps between asking for a line of weights and using it: about the time it takes from L2.
AHEAD = 12


@inner(forceinline=True)
def panel_6x2(x: Any, base: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """y[to + i ldy + (0 .. 2W)] = seed[start + i lds ..] + sum over k of x[base + columns[k] + i] w[at + k ldw ..].

    For six tokens i; k runs from its first step to `stop`. The seed is the bias (lds = 0) or what y holds already.
    """
    s0, s1, s2, s3, s4, s5 = start, start + lds, start + 2 * lds, start + 3 * lds, start + 4 * lds, start + 5 * lds
    a0, a1, a2 = load(seed, s0, WIDTH), load(seed, s1, WIDTH), load(seed, s2, WIDTH)
    a3, a4, a5 = load(seed, s3, WIDTH), load(seed, s4, WIDTH), load(seed, s5, WIDTH)
    b0, b1, b2 = load(seed, s0 + WIDTH, WIDTH), load(seed, s1 + WIDTH, WIDTH), load(seed, s2 + WIDTH, WIDTH)
    b3, b4, b5 = load(seed, s3 + WIDTH, WIDTH), load(seed, s4 + WIDTH, WIDTH), load(seed, s5 + WIDTH, WIDTH)
    ahead = AHEAD * ldw
    while k < stop:
        c = base + element(columns, k)
        prefetch(w, at + ahead)
        low, high = load(w, at, WIDTH), load(w, at + WIDTH, WIDTH)
        s = broadcast(element(x, c), WIDTH)
        a0, b0 = fma(s, low, a0), fma(s, high, b0)
        s = broadcast(element(x, c + 1), WIDTH)
        a1, b1 = fma(s, low, a1), fma(s, high, b1)
        s = broadcast(element(x, c + 2), WIDTH)
        a2, b2 = fma(s, low, a2), fma(s, high, b2)
        s = broadcast(element(x, c + 3), WIDTH)
        a3, b3 = fma(s, low, a3), fma(s, high, b3)
        s = broadcast(element(x, c + 4), WIDTH)
        a4, b4 = fma(s, low, a4), fma(s, high, b4)
        s = broadcast(element(x, c + 5), WIDTH)
        a5, b5 = fma(s, low, a5), fma(s, high, b5)
        at += ldw
        k += 1
    store(y, to, a0), store(y, to + WIDTH, b0)
    store(y, to + ldy, a1), store(y, to + ldy + WIDTH, b1)
    store(y, to + 2 * ldy, a2), store(y, to + 2 * ldy + WIDTH, b2)
    store(y, to + 3 * ldy, a3), store(y, to + 3 * ldy + WIDTH, b3)
    store(y, to + 4 * ldy, a4), store(y, to + 4 * ldy + WIDTH, b4)
    store(y, to + 5 * ldy, a5), store(y, to + 5 * ldy + WIDTH, b5)


@inner(forceinline=True)
def panel_4x2(x: Any, base: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """As `panel_6x2`, for the first four tokens."""
    s0, s1, s2, s3 = start, start + lds, start + 2 * lds, start + 3 * lds
    a0, a1, a2, a3 = load(seed, s0, WIDTH), load(seed, s1, WIDTH), load(seed, s2, WIDTH), load(seed, s3, WIDTH)
    b0, b1 = load(seed, s0 + WIDTH, WIDTH), load(seed, s1 + WIDTH, WIDTH)
    b2, b3 = load(seed, s2 + WIDTH, WIDTH), load(seed, s3 + WIDTH, WIDTH)
    ahead = AHEAD * ldw
    while k < stop:
        c = base + element(columns, k)
        prefetch(w, at + ahead)
        low, high = load(w, at, WIDTH), load(w, at + WIDTH, WIDTH)
        s = broadcast(element(x, c), WIDTH)
        a0, b0 = fma(s, low, a0), fma(s, high, b0)
        s = broadcast(element(x, c + 1), WIDTH)
        a1, b1 = fma(s, low, a1), fma(s, high, b1)
        s = broadcast(element(x, c + 2), WIDTH)
        a2, b2 = fma(s, low, a2), fma(s, high, b2)
        s = broadcast(element(x, c + 3), WIDTH)
        a3, b3 = fma(s, low, a3), fma(s, high, b3)
        at += ldw
        k += 1
    store(y, to, a0), store(y, to + WIDTH, b0)
    store(y, to + ldy, a1), store(y, to + ldy + WIDTH, b1)
    store(y, to + 2 * ldy, a2), store(y, to + 2 * ldy + WIDTH, b2)
    store(y, to + 3 * ldy, a3), store(y, to + 3 * ldy + WIDTH, b3)


@inner(forceinline=True)
def panel_1x2(x: Any, base: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, y: Any, to: int) -> None:  # fmt: skip
    """As `panel_6x2`, for the first token: odd and even steps have sums of their own, so that fewer wait."""
    a, b = load(seed, start, WIDTH), load(seed, start + WIDTH, WIDTH)
    c, d = broadcast(0, WIDTH), broadcast(0, WIDTH)
    ahead = AHEAD * ldw
    while k < stop - 1:
        prefetch(w, at + ahead), prefetch(w, at + ldw + ahead)
        s = broadcast(element(x, base + element(columns, k)), WIDTH)
        a, b = fma(s, load(w, at, WIDTH), a), fma(s, load(w, at + WIDTH, WIDTH), b)
        at += ldw
        s = broadcast(element(x, base + element(columns, k + 1)), WIDTH)
        c, d = fma(s, load(w, at, WIDTH), c), fma(s, load(w, at + WIDTH, WIDTH), d)
        at += ldw
        k += 2
    if k < stop:
        s = broadcast(element(x, base + element(columns, k)), WIDTH)
        a, b = fma(s, load(w, at, WIDTH), a), fma(s, load(w, at + WIDTH, WIDTH), b)
    one = broadcast(1, WIDTH)
    store(y, to, fma(one, c, a)), store(y, to + WIDTH, fma(one, d, b))


@inner(forceinline=True)
def panel_12x1(x: Any, base: int, other: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
               seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """As `panel_6x2`, for one vector of outputs and twelve tokens: six packed from `base` on, six from `other`."""
    a0, a1, a2 = load(seed, start, WIDTH), load(seed, start + lds, WIDTH), load(seed, start + 2 * lds, WIDTH)
    a3, a4 = load(seed, start + 3 * lds, WIDTH), load(seed, start + 4 * lds, WIDTH)
    a5, b0 = load(seed, start + 5 * lds, WIDTH), load(seed, start + 6 * lds, WIDTH)
    b1, b2 = load(seed, start + 7 * lds, WIDTH), load(seed, start + 8 * lds, WIDTH)
    b3, b4 = load(seed, start + 9 * lds, WIDTH), load(seed, start + 10 * lds, WIDTH)
    b5 = load(seed, start + 11 * lds, WIDTH)
    ahead = AHEAD * ldw
    while k < stop:
        column = element(columns, k)
        c, d = base + column, other + column
        prefetch(w, at + ahead)
        v = load(w, at, WIDTH)
        a0 = fma(broadcast(element(x, c), WIDTH), v, a0)
        a1 = fma(broadcast(element(x, c + 1), WIDTH), v, a1)
        a2 = fma(broadcast(element(x, c + 2), WIDTH), v, a2)
        a3 = fma(broadcast(element(x, c + 3), WIDTH), v, a3)
        a4 = fma(broadcast(element(x, c + 4), WIDTH), v, a4)
        a5 = fma(broadcast(element(x, c + 5), WIDTH), v, a5)
        b0 = fma(broadcast(element(x, d), WIDTH), v, b0)
        b1 = fma(broadcast(element(x, d + 1), WIDTH), v, b1)
        b2 = fma(broadcast(element(x, d + 2), WIDTH), v, b2)
        b3 = fma(broadcast(element(x, d + 3), WIDTH), v, b3)
        b4 = fma(broadcast(element(x, d + 4), WIDTH), v, b4)
        b5 = fma(broadcast(element(x, d + 5), WIDTH), v, b5)
        at += ldw
        k += 1
    store(y, to, a0), store(y, to + ldy, a1), store(y, to + 2 * ldy, a2)
    store(y, to + 3 * ldy, a3), store(y, to + 4 * ldy, a4), store(y, to + 5 * ldy, a5)
    to += 6 * ldy
    store(y, to, b0), store(y, to + ldy, b1), store(y, to + 2 * ldy, b2)
    store(y, to + 3 * ldy, b3), store(y, to + 4 * ldy, b4), store(y, to + 5 * ldy, b5)


@inner(forceinline=True)
def panel_6x1(x: Any, base: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """As `panel_6x2`, for one vector of outputs."""
    a0, a1, a2 = load(seed, start, WIDTH), load(seed, start + lds, WIDTH), load(seed, start + 2 * lds, WIDTH)
    a3, a4 = load(seed, start + 3 * lds, WIDTH), load(seed, start + 4 * lds, WIDTH)
    a5 = load(seed, start + 5 * lds, WIDTH)
    while k < stop:
        c = base + element(columns, k)
        v = load(w, at, WIDTH)
        a0 = fma(broadcast(element(x, c), WIDTH), v, a0)
        a1 = fma(broadcast(element(x, c + 1), WIDTH), v, a1)
        a2 = fma(broadcast(element(x, c + 2), WIDTH), v, a2)
        a3 = fma(broadcast(element(x, c + 3), WIDTH), v, a3)
        a4 = fma(broadcast(element(x, c + 4), WIDTH), v, a4)
        a5 = fma(broadcast(element(x, c + 5), WIDTH), v, a5)
        at += ldw
        k += 1
    store(y, to, a0), store(y, to + ldy, a1), store(y, to + 2 * ldy, a2)
    store(y, to + 3 * ldy, a3), store(y, to + 4 * ldy, a4), store(y, to + 5 * ldy, a5)


@inner(forceinline=True)
def panel_1x1(x: Any, base: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
              seed: Any, start: int, y: Any, to: int) -> None:  # fmt: skip
    """As `panel_6x2`, for the first token and one vector of outputs."""
    a = load(seed, start, WIDTH)
    while k < stop:
        a = fma(broadcast(element(x, base + element(columns, k)), WIDTH), load(w, at, WIDTH), a)
        at += ldw
        k += 1
    store(y, to, a)
