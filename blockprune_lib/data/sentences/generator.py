"""Built-in English text for the nine GLUE tasks: needs no download, and pruning too far hurts on it.

Sentences are composed from templates and some six hundred words so that no single word gives the label away:

| task | a label turns on |
|---|---|
| sst2 | negation ("far from dull"), contrast ("although ..., ..." : the main clause decides), who says so |
| cola | agreement across a phrase, determiners, verb forms, reflexives, "ever", comparatives, word order |
| mrpc, qqp | who did what to whom, in active and passive voice; opposites; numbers, places and times |
| stsb | how much two events have in common: 5 all, 0 nothing; each difference lowers the label |
| mnli, rte | dropped details, kinds ("violinist": "musician"), role swaps, "hoped that", negation, opposites |
| qnli | whether the sentence has the place, time, number, doer or thing the question asks for |
| wnli | which of two things "it" or "he" must be, as in Winograd's schemas |

Labels are free of noise and balanced. A sentence (of a pair, the first) belongs to training or to validation by its
own hash, so the two never share one, whatever the seeds. Validation also uses words that training never shows: only
a pre-trained model knows what they mean. The same arguments give the same text on every machine.

It does not replace GLUE: scores on it compare models with each other here, never with published figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from ..._common.checks import one_of, positive_int
from . import pairs, single
from .vocabulary import Dice

Row = tuple[Any, ...]

VALIDATION_SHARE = 0.2  # of all possible sentences
UNSEEN_SHARE = 0.3  # of the words in a validation sentence that have held-out companions

# Task -> what makes a row for a label, the text columns, and the labels that take turns.
MAKERS: dict[str, tuple[Callable[[Dice, Any], Row], tuple[str, ...], tuple[Any, ...]]] = {
    "cola": (single.acceptability, ("sentence",), (0, 1)),
    "sst2": (single.opinion, ("sentence",), (0, 1)),
    "mrpc": (pairs.paraphrase, ("sentence1", "sentence2"), (0, 1)),
    "stsb": (pairs.similarity, ("sentence1", "sentence2"), (0, 1, 2, 3, 4, 5)),
    "qqp": (pairs.same_question, ("question1", "question2"), (0, 1)),
    "mnli": (pairs.inference, ("premise", "hypothesis"), (0, 1, 2)),
    "qnli": (pairs.answer, ("question", "sentence"), (0, 1)),
    "rte": (pairs.entailment, ("sentence1", "sentence2"), (0, 1)),
    "wnli": (pairs.winograd, ("sentence1", "sentence2"), (0, 1)),
}


def generate(task: str, count: int, split: str = "train", seed: int = 0) -> dict[str, list[Any]]:
    """`count` rows of a GLUE task as columns with GLUE's field names, the same for the same arguments.

    `split` is "train" or "validation". Raises `ValueError` for an unknown task or split, and a `count` below 1 or above
    the number of different sentences.

    >>> rows = generate("sst2", 2, seed=3)
    >>> sorted(rows), len(rows["sentence"])
    (['idx', 'label', 'sentence'], 2)
    """
    one_of(task, "task", MAKERS)
    one_of(split, "split", ("train", "validation"))
    positive_int(count, "count")
    make, fields, labels = MAKERS[task]
    dice = Dice(f"{task} {split} {seed}", UNSEEN_SHARE if split == "validation" else 0.0)
    rows: dict[tuple[str, ...], Any] = {}
    attempts = 0
    while len(rows) < count:
        attempts += 1
        if attempts > 50 * count + 1000:
            raise ValueError(f"count must be at most {len(rows):,} for {task}, {split}; got {count:,}: no more differ")
        label = labels[len(rows) % len(labels)]  # balanced: the next row's label is fixed before its words
        *texts, value = make(dice, label)
        hashed = hashlib.sha256(texts[0].encode()).digest()[0] / 256
        if (hashed < VALIDATION_SHARE) == (split == "validation") and len({*texts}) == len(texts):
            rows.setdefault(tuple(texts), value)
    order = dice.sample(list(rows.items()), count)
    columns: dict[str, list[Any]] = {field: [texts[i] for texts, _ in order] for i, field in enumerate(fields)}
    return columns | {"label": [value for _, value in order], "idx": list(range(count))}
