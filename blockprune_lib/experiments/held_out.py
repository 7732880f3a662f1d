"""A part of the training rows to choose settings by, so that the validation rows are scored once, at the end."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

from ..data.tasks import Task


def hold_out(task: Task, part: float, seed: int = 0) -> Task:
    """`task` with `part` of its training rows, 0 to 1, drawn by `seed`, to score on; the rest to train on.

    The validation rows take no part. Raises ValueError where too few rows are left for either.
    """
    rows = len(task.train)
    held = set(random.Random(seed).sample(range(rows), round(part * rows)))
    if not 0 < len(held) < rows:
        raise ValueError(f"held_out must leave rows to train on and to score on; got {part} of {rows:,}: 0.1 would do")
    rest = [row for row in range(rows) if row not in held]
    fingerprint = hashlib.sha256(f"{task.fingerprint} held out {part} {seed}".encode()).hexdigest()
    return replace(
        task, train=task.train.select(rest), validation=task.train.select(sorted(held)), mismatched=None,
        fingerprint=fingerprint, notes=(*task.notes, f"scored on {part:g} of the training rows"), _encoded={},
    )  # fmt: skip
