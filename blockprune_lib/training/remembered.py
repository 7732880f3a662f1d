"""What a teacher answers to every training example, computed once: it never changes, and each row is seen often.

    states   (layers, tokens of all examples, width)   where they fit in memory, else the teacher runs in each step
    logits   (examples, outputs)

The examples are run in order of length in batches of their own, so that what is remembered does not depend on where a
training was resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Bytes that may be spent: MRPC with MiniLM takes 0.9 GiB in bfloat16.
LIMIT = 2 << 30
_BATCH = 64


class Answers:
    """A teacher's logits and hidden states for known examples."""

    def __init__(self, rows: Sequence[dict[str, Any]], logits: Tensor, states: Tensor) -> None:
        lengths = [len(row["input_ids"]) for row in rows]
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.index = {_key(row["input_ids"]): i for i, row in enumerate(rows)}
        self.logits, self.states = logits, states

    def to(self, inputs: dict[str, Any]) -> tuple[Tensor, list[Tensor]] | None:
        """Logits (batch, outputs), and of each layer the states of the batch's real tokens; None if one is unknown."""
        device, lengths = inputs["input_ids"].device, inputs["attention_mask"].sum(1).tolist()
        ids = inputs["input_ids"].cpu().numpy()
        found = [self.index.get(_key(row[:length]), -1) for row, length in zip(ids, lengths, strict=True)]
        if -1 in found:
            return None
        places = torch.from_numpy(np.concatenate([np.arange(self.starts[i], self.ends[i]) for i in found]))
        states = self.states.index_select(1, places).to(device).float() if len(self.states) else ()
        return self.logits[found].to(device), list(states)


@torch.no_grad()
def answers(
    model: Any, rows: Sequence[dict[str, Any]], collate: Callable[[Sequence[dict[str, Any]]], dict[str, Tensor]],
    asks: dict[str, Any], device: torch.device, bf16: bool,
) -> Answers | None:  # fmt: skip
    """Run the teacher on every example; None where its states would take more than `LIMIT` bytes.

    `asks`: what the forward pass is told, with output_hidden_states where states are wanted; `bf16`: run and remember
    them in bfloat16.
    """
    tokens, hidden = sum(len(row["input_ids"]) for row in rows), bool(asks)
    layers = model.config.num_hidden_layers if hidden else 0
    dtype = torch.bfloat16 if bf16 else torch.float32
    if layers * tokens * model.config.hidden_size * dtype.itemsize > LIMIT:
        return None
    ends = np.cumsum([len(row["input_ids"]) for row in rows])
    states = torch.empty(layers, tokens, model.config.hidden_size if hidden else 0, dtype=dtype)
    logits = torch.empty(len(rows), model.config.num_labels)
    model.to(device)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        batch = {key: value.to(device) for key, value in collate([rows[i] for i in chosen]).items() if key != "labels"}
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            outputs = model(**batch, **asks)
        logits[chosen] = outputs.logits.float().cpu()
        lengths = [len(rows[i]["input_ids"]) for i in chosen]
        for layer in range(layers):
            whole = outputs.hidden_states[layer + 1].to("cpu", dtype)
            for i, row, length in zip(chosen, whole, lengths, strict=True):
                states[layer, ends[i] - length : ends[i]] = row[:length]
    return Answers(rows, logits, states)


def _key(ids: Any) -> bytes:
    return np.asarray(ids, dtype=np.int32).tobytes()
