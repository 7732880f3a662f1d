"""A whole encoder as one compiled call: every layer's products, attention, LayerNorm and activation, features x tokens.

    0 transpose in      tokens x features -> x, or embed: vectors of word, place and type -> r, LayerNorm r -> x
    for each layer
      1 q, k, v         products with bias
      2 attention       a, head by head of each sequence
      3 output          r = W a + bias + x
      4 LayerNorm       r -> x
      5 inner           f = activation(W x + bias)
      6 outer           r = W f + bias + x
      7 LayerNorm       r -> x
    8 transpose out     x -> tokens x features

The sequences of a batch lie side by side without padding; only attention knows where one ends. A phase is cut into
items that threads take one after the other; a thread goes on to the next phase once all items of this one are done, by
whichever thread. The result is the same to the bit for any number of threads, whenever they start.

Left out: pooler and heads, which torch runs; gradients; when a call may be made (`nn.engine`, `nn.whole_call`).
"""

from __future__ import annotations

from typing import Any

from numba import carray

from ..machine.native import inner
from ..machine.simd import WIDTH, divide, fma
from .attention import attend
from .intrinsics import UNKNOWN, fetch_add, floats_at, int64_at
from .lanes import every, minus, plus, put, spread, square_root, times, vector_at
from .parallel import ITEMS, SLOT
from .product import multiply
from .records import CALL, EMBEDDING, LAYER, SEQUENCE, TOKEN, pointer_to
from .tile_loop import BYTES
from .transpose import turn_in, turn_out
from .waiting import wait_for

#: Phases of a layer; counters of a phase: the next item and, on a cache line of its own (DONE), how many are done.
PHASES, COUNTERS, DONE = 7, 16, 8
#: A thread takes so many items at once that each of the threads comes so often: on a short text an item takes no longer
#: than it takes two cores to pass a counter to and fro.
TURNS = 4

_calls, _layers, _sequences = pointer_to(CALL), pointer_to(LAYER), pointer_to(SEQUENCE)
_embeddings, _tokens = pointer_to(EMBEDDING), pointer_to(TOKEN)


def encoder_worker(pointer: Any) -> None:
    """Take items of every phase until the last is done; `pointer`: a job whose fourth field is a call's address."""
    work_through(pointer, _do)


@inner(inline="always")  # else `do` would be a pointer, and the code could not be kept on disk
def work_through(pointer: Any, do: Any) -> None:
    """Take items of every phase and do(call, layer, kind of phase, item, scratch memory), until the last is done."""
    job = carray(pointer, (UNKNOWN,))
    own = fetch_add(job, SLOT, 1)
    call = carray(_calls(job[3]), (1,))[0]
    counters, layers = int64_at(call.counters), carray(_layers(call.layers), (UNKNOWN,))
    memory, phase, last = call.scratch + own * call.scratch_bytes, 0, PHASES * call.count + 1
    while phase <= last:
        layer = layers[max(0, min(phase - 1, last - 2)) // PHASES]
        kind = 0 if phase == 0 else PHASES + 1 if phase == last else (phase - 1) % PHASES + 1
        place, items, done = COUNTERS * phase, _items(call, layer, kind), 0
        some = max(1, items // (TURNS * job[ITEMS]))
        first = fetch_add(counters, place, some)
        while first < items:
            for item in range(first, min(first + some, items)):
                do(call, layer, kind, item, memory)
                done += 1
            first = fetch_add(counters, place, some)
        fetch_add(counters, place + DONE, done)
        wait_for(counters, place + DONE, items)
        phase += 1


@inner
def _items(call: Any, layer: Any, kind: int) -> int:
    """How many items a phase has."""
    if kind == 1:
        return layer.query.runs + layer.key.runs + layer.value.runs
    if kind == 2:
        return call.sequence_count * call.heads
    if kind == 3:
        return layer.output.runs
    if kind == 5:
        return layer.inner.runs
    return layer.outer.runs if kind == 6 else (call.tokens + WIDTH - 1) // WIDTH


@inner
def _do(call: Any, layer: Any, kind: int, item: int, memory: int) -> None:
    """One item of a phase."""
    pitch, vectors = call.pitch, (call.tokens + WIDTH - 1) // WIDTH
    if kind == 2:
        sequence = carray(_sequences(call.sequences), (UNKNOWN,))[item // call.heads]
        attend(call, sequence.start, sequence.length, item % call.heads, memory)
    elif kind == 4:
        normalise(layer.norm, call.width, call.r + item * BYTES, call.x + item * BYTES, pitch)
    elif kind == PHASES:
        normalise(layer.final, call.width, call.r + item * BYTES, call.x + item * BYTES, pitch)
    elif kind == 0 or kind > PHASES:
        turn(call, item, kind == 0)
    else:  # a product, called at one place only: what is called at many is compiled at each
        matrix, part = product_of(layer, kind, item)
        x = call.a if kind == 3 else call.f if kind == 6 else call.x
        y = result_of(call, layer, kind, item)
        multiply(matrix, part, x, y, pitch, vectors, call.x if y == call.r else 0, layer.activation if kind == 5 else 0)


@inner(inline="always")
def product_of(layer: Any, kind: int, item: int) -> Any:
    """(the matrix of a product's phase, its part) for an item; a phase of three products counts through all of them."""
    matrix, part = layer.outer, item
    if kind == 1:
        matrix = layer.query
        if part >= layer.query.runs:
            matrix, part = layer.key, part - layer.query.runs
            if part >= layer.key.runs:
                matrix, part = layer.value, part - layer.key.runs
    elif kind == 3:
        matrix = layer.output
    elif kind == 5:
        matrix = layer.inner
    return matrix, part


@inner(inline="always")
def result_of(call: Any, layer: Any, kind: int, item: int) -> int:
    """The address of that product's results."""
    if kind == 1:
        if item < layer.query.runs:
            return call.q
        return call.k if item < layer.query.runs + layer.key.runs else call.v
    return call.f if kind == 5 else call.r


@inner
def normalise(norm: Any, width: int, r: int, y: int, pitch: int) -> None:
    """y = (r - mean) / sqrt(variance + epsilon) * weight + bias over the features of one vector of tokens."""
    total, squares = every(0.0), every(0.0)
    for i in range(width):
        total = plus(total, vector_at(r + i * pitch))
    mean = divide(total, every(width))
    for i in range(width):
        off = minus(vector_at(r + i * pitch), mean)
        squares = fma(off, off, squares)
    scale = divide(every(1.0), square_root(plus(divide(squares, every(width)), every(norm.epsilon))))
    for i in range(width):
        off = times(minus(vector_at(r + i * pitch), mean), scale)
        put(y + i * pitch, fma(off, spread(norm.weight + 4 * i), spread(norm.bias + 4 * i)))


@inner
def turn(call: Any, item: int, inwards: bool) -> None:
    """Transpose one vector of tokens, inwards to features x tokens; there lanes beyond the last token become zero."""
    first = item * WIDTH
    count, row = min(WIDTH, call.tokens - first), 4 * call.width
    if inwards and call.embedding:
        embed(call, carray(_embeddings(call.embedding), (1,))[0], first, count)
    elif inwards:
        turn_in(call.input + first * row, row, count, call.width, call.x + 4 * first, call.pitch)
    else:
        turn_out(call.x + 4 * first, call.pitch, call.width, call.result + first * row, row, count)


@inner
def embed(call: Any, tables: Any, first: int, count: int) -> None:
    """x of one vector of tokens = LayerNorm(word + type + position), each a row of its table."""
    row, tokens = 4 * call.width, carray(_tokens(call.token_rows), (UNKNOWN,))
    for i in range(first, first + count):
        token, target = tokens[i], floats_at(call.input + i * row)
        word, position = floats_at(tables.words + token.word * row), floats_at(tables.positions + token.position * row)
        for j in range(call.width):
            target[j] = word[j] + position[j]
        if tables.types:
            kind = floats_at(tables.types + token.type * row)
            for j in range(call.width):
                target[j] += kind[j]
    turn_in(call.input + first * row, row, count, call.width, call.r + 4 * first, call.pitch)
    normalise(tables.norm, call.width, call.r + 4 * first, call.x + 4 * first, call.pitch)
