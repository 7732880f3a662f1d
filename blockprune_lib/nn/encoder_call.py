"""One compiled call of an encoder: from hidden states, or from token numbers, to the last hidden states.

    shown       * * * * .     the tokens that the mask shows, side by side, without padding
                * * . . .     -> rows (6, features), sequences (0, 4), (4, 2)

Left out: the records of the layers (`encoder_plan`), when a call may be made (`engine`, `whole_call`).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..kernels import parallel
from ..kernels.encoder import COUNTERS, PHASES
from ..kernels.memory import new_matrix
from ..kernels.records import CALL, SEQUENCE, TOKEN, filled, positions
from ..kernels.tile_loop import BYTES, VECTORS, WIDTH
from .encoder_plan import EncoderPlan

#: At most so many tokens per call, unless one sequence has more: enough to fill every tile, and fitting a core's cache.
TOGETHER = 256
_at = positions(CALL)


def from_states(plan: EncoderPlan, hidden: Tensor, shown: np.ndarray, threads: int) -> Tensor:
    """The last hidden states (batch, tokens, width), of the type of `hidden`; rows of masked tokens are zero."""
    width = hidden.shape[2]
    rows = hidden.reshape(-1, width)
    if not (everything := bool(shown.all())):
        rows = rows.index_select(0, torch.from_numpy(np.flatnonzero(shown)))
    rows = rows.float().contiguous().resolve_neg()
    found = new_matrix(*rows.shape)
    at, step = rows.data_ptr(), 4 * width
    for first, sequences in _units(shown.sum(1)):
        _call(plan, found.data_ptr() + first * step, sequences, threads, input=at + first * step)
    return _spread(found.to(hidden.dtype), shown, everything)


def from_tokens(plan: EncoderPlan, tables: np.ndarray, tokens: np.ndarray, shown: np.ndarray, threads: int) -> Tensor:
    """The same from `tokens` (visible tokens,) of TOKEN, whose vectors `tables`, an EMBEDDING, holds; float32."""
    found = new_matrix(len(tokens), plan.width)
    address = found.data_ptr()
    for first, sequences in _units(shown.sum(1)):
        at = address + 4 * plan.width * first  # a row is written there, turned, and later overwritten by its result
        where = tokens.ctypes.data + TOKEN.itemsize * first
        _call(plan, at, sequences, threads, input=at, embedding=tables.ctypes.data, token_rows=where)
    return _spread(found, shown, bool(shown.all()))


def _spread(found: Tensor, shown: np.ndarray, everything: bool) -> Tensor:
    """Rows of visible tokens as (batch, tokens, width), zeros between them."""
    if everything:
        return found.view(*shown.shape, found.shape[1])
    result = found.new_zeros(shown.size, found.shape[1])
    return result.index_copy_(0, torch.from_numpy(np.flatnonzero(shown)), found).view(*shown.shape, -1)


def _call(plan: EncoderPlan, result: int, sequences: np.ndarray, threads: int, **given: int) -> None:
    """Run the kernel on these sequences; `given`: addresses of the input, or of what makes it."""
    lengths = sequences["length"].tolist()
    tokens, longest = sum(lengths), max(lengths)
    room = tokens + VECTORS * WIDTH + WIDTH
    pitch = (room // WIDTH | 1) * WIDTH  # an odd number of vectors, so that rows do not share a few cache sets
    sizes = plan.precision.rows(plan.width, plan.inner)
    at = _memories.take("floats", 4 * sum(sizes.values()) * pitch)
    for name, size in sizes.items():
        given[name], at = at, at + 4 * size * pitch
    widest, head = max(plan.width, plan.inner), plan.width // plan.heads
    scratch_bytes = plan.precision.scratch_rows(longest, head, widest) * VECTORS * BYTES
    if plan.position is not None:
        bias = _position_of(plan, longest)
        given["position"] = bias.data_ptr()
        given["position_pitch"], given["position_head"] = 4 * bias.stride(1), 4 * bias.stride(0)
    call, address = parallel.workspace().record(_template(plan))
    call[_at.tokens], call[_at.pitch], call[_at.result] = tokens, 4 * pitch, result
    call[_at.sequences], call[_at.sequence_count] = sequences.ctypes.data, len(sequences)
    call[_at.counters] = _memories.zeros("counters", 8 * COUNTERS * (PHASES * len(plan.layers) + 2))
    call[_at.scratch], call[_at.scratch_bytes] = _memories.take("scratch", threads * scratch_bytes), scratch_bytes
    for name, value in given.items():
        call[getattr(_at, name)] = value
    parallel.run(plan.precision.worker, (ctypes.c_int64 * 4)(0, threads, 0, address), threads)


def _template(plan: EncoderPlan) -> np.ndarray:
    """The fields of a CALL as whole numbers, those that are the same in every call of a plan filled in."""
    if plan.template is None:
        same = {"layers": plan.layers.ctypes.data, "count": len(plan.layers), "heads": plan.heads, "width": plan.width,
                "scale": (plan.width // plan.heads) ** -0.5}  # fmt: skip
        plan.template = filled(CALL, **(dict.fromkeys(CALL.names or (), 0) | same)).view(np.int64)
    return plan.template


def _position_of(plan: EncoderPlan, tokens: int) -> Tensor:
    """The position bias (heads, keys, queries) divided by the scale, with room for a tile beyond the last query."""
    if tokens not in plan.biases:
        with torch.no_grad():
            bias = plan.position(torch.empty(1, tokens, 1, device="cpu"))[0].transpose(1, 2)
            roomy = torch.zeros(*bias.shape[:2], tokens + VECTORS * WIDTH, dtype=torch.float32, device="cpu")
            roomy[:, :, :tokens] = bias * (plan.width // plan.heads) ** 0.5
        plan.biases = {tokens: roomy}
    return plan.biases[tokens]


def _units(lengths: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The sequences of each call: (first token, their starts and lengths); empty sequences are left out."""
    first = 0
    unit: list[tuple[int, int]] = []
    tokens = 0
    for length in lengths.tolist():
        if unit and tokens + length > TOGETHER:
            yield first, np.array(unit, SEQUENCE)
            first, unit, tokens = first + tokens, [], 0
        if length:
            unit.append((tokens, length))
            tokens += length
    if unit:
        yield first, np.array(unit, SEQUENCE)


class _Memory(threading.local):
    """A calling thread's buffers, kept from call to call so that their pages stay warm."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def take(self, name: str, count: int) -> int:
        """The address of so many bytes, a multiple of 64; of any value, good until asked again."""
        held, address = self._held.get(name, (np.empty(0, np.uint8), 0))
        if held.nbytes < count + 64:
            held = np.zeros(count + 64, np.uint8)
            address = int(-(-held.ctypes.data // 64) * 64)
            self._held[name] = held, address
        return address

    def zeros(self, name: str, count: int) -> int:
        """The same, all zero."""
        address = self.take(name, count)
        ctypes.memset(address, 0, count)
        return address


_memories = _Memory()
