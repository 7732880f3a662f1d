"""What Python passes to a compiled encoder: records with named fields, read by the same names in the kernels.

Fields are integers of 64 bits; some are addresses, named below. `filled` makes a record from keywords and refuses
missing and unknown names, so that a mistake is an error in Python and not a read out of bounds.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype


def _whole(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names])


#: A strip of a listed walk: outputs that keep the same inputs. `apart`: weights from one step to the next.
STRIP = _whole("output", "outputs", "begin", "steps", "weight", "apart")
#: An input block of a rows walk: neighbouring inputs, and the sets of rows that keep them.
BLOCK = _whole("input", "inputs", "begin", "end")
#: A set: how many rows, the position of its first weight, and the numbers of the rows.
SET = np.dtype([("rows", np.int64), ("weight", np.int64), ("numbers", np.int64, (6,))])
#: A set whose weights are where packing left them: `places`, the position of the first weight of each row.
PLACED = np.dtype([("rows", np.int64), ("numbers", np.int64, (6,)), ("places", np.int64, (6,))])
#: A matrix: addresses of its weights, its bias and the tables of its walk, which `parts` cuts into `runs` equal runs.
MATRIX = _whole("kind", "outputs", "inputs", "values", "bias", "index", "strips", "bands", "blocks", "sets", "height",
                "parts", "runs")  # fmt: skip
#: A LayerNorm: addresses of weight and bias.
NORM = np.dtype([("weight", np.int64), ("bias", np.int64), ("epsilon", np.float64)])
#: Tables of vectors (words, positions, types; 0: none) that are added up for each token, and the LayerNorm after.
EMBEDDING = np.dtype([("words", np.int64), ("positions", np.int64), ("types", np.int64), ("norm", NORM)])
#: What a token is: its rows in these tables.
TOKEN = _whole("word", "position", "type")
PRODUCTS = ("query", "key", "value", "output", "inner", "outer")
NORMS = ("norm", "final")
LAYER = np.dtype([(name, MATRIX) for name in PRODUCTS] + [(name, NORM) for name in NORMS] + [("activation", np.int64)])
#: Where a sequence begins among the tokens, and how many it has.
SEQUENCE = _whole("start", "length")
#: A call: addresses of layers, sequences, input, output and memory; `pitch`: bytes from one feature's row to the next.
#: `embedding`, `token_rows`: addresses of an EMBEDDING and of each token, from which the input is made; 0: it is there.
CALL = np.dtype([(name, np.int64) for name in (
    "layers", "count", "heads", "width", "tokens", "pitch", "sequences", "sequence_count", "input", "result",
    "x", "pairs", "q", "k", "v", "a", "r", "f", "counters", "scratch", "scratch_bytes", "position", "position_pitch",
    "position_head", "embedding", "token_rows",
)] + [("scale", np.float64)])  # fmt: skip

#: What every job begins with (see `parallel`), and the tables of a `plan.Side`.
JOB = ("next", "items", "slot")
TABLES = ("tops", "bands", "index", "places", "strips", "blocks", "sets")
#: A product of tokens x features. `in_lanes`: what is in the lanes; `chunks` of `chunk` tokens; `pitch`: bytes from one
#: feature to the next within a tile; `flags`: address of a counter for each tile, 0 where threads share none.
PRODUCT = _whole(*JOB, *TABLES, "kind", "values", "bias", "x", "ldx", "tokens", "inputs", "y", "outputs", "activation",
                 "in_lanes", "chunks", "chunk", "pitch", "parts", "runs", "flags", "turned", "scratch",
                 "scratch_bytes")  # fmt: skip
#: A gradient of stored weights: `rows` are strips' outputs, `others` what the steps list; both turned, side by side.
GRADIENT = _whole(*JOB, *TABLES, "rows", "row_bytes", "row_count", "others", "other_bytes", "other_count", "tokens",
                  "pitch", "turned_rows", "turned_others", "result", "add", "wide", "parts", "scratch",
                  "done")  # fmt: skip


def filled(kind: np.dtype[Any], /, **fields: Any) -> np.ndarray:
    """One record of `kind`, shape (1,). Raises TypeError where a field is missing or unknown.

    >>> filled(SEQUENCE, start=0, length=7)["length"]
    array([7])
    """
    if set(fields) != set(kind.names or ()):
        wrong = sorted(set(fields) ^ set(kind.names or ()))
        raise TypeError(f"the record must have the fields {', '.join(kind.names or ())}; wrong or missing: {wrong}")
    record = np.zeros(1, kind)
    for name, value in fields.items():
        record[name] = value
    return record


def positions(kind: np.dtype[Any]) -> Any:
    """The position of each field among the whole numbers of a record, by name.

    >>> positions(SEQUENCE).length
    1
    """
    return SimpleNamespace(**{name: number for number, name in enumerate(kind.names or ())})


def offset_of(kind: np.dtype[Any], name: str) -> int:
    """Bytes from the beginning of a record to a field.

    >>> offset_of(SEQUENCE, "length")
    8
    """
    fields = kind.fields
    assert fields is not None
    return int(fields[name][1])


def pointer_to(kind: np.dtype[Any]) -> Any:
    """A function for kernels that turns an integer address into a pointer to records of `kind`."""
    result = types.CPointer(from_dtype(kind))

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(result))

        return result(types.int64), generate

    return pointer
