"""The notebook of a chapter that is yet to be written: every part that it owes, with TODO where its author writes.

A test holds it to the checks of tests/book/test_book.py, which refuse a chapter in which a TODO is left.
"""

from __future__ import annotations

import re
from typing import Any

#: Cells begin with a line of %%, their kind and their tags; @NAME@ is the chapter's, @TITLE@ the same in words.
OPENING = """
%% markdown
# @TITLE@: TODO, a question or a claim

TODO: what goes wrong at first, what the reader does on this page, and what they leave with.
%% markdown
```{admonition} At a glance
:class: note

- **You will be able to** TODO.
- **You need** TODO.
- **Time:** read 15 min · exercises 25 min, and an open one · all cells run in at most 60 s on a laptop.
- **Live:** TODO, what is computed on this page, and what is recorded.
```
%% code setup hide-input
%% code hide-input
chapter.passport()
%% markdown
## TODO: the obvious answer

TODO, with what others found {cite:p}`li2020efficient`, and terms such as {term}`block structure` and {term}`density`
linked to the glossary once.

```{admonition} Predict
:class: tip
TODO: what will the next cell show?

- **a.** TODO
- **b.** TODO
```
%% code hide-input
def draw(ax):
    samples = {"dense": [4.9, 5.0, 5.2], "block": [1.0, 1.1, 1.3]}  # TODO
    plots.bars(ax, samples, {"dense": "dense", "block": "block"})
    ax.set_xlabel("TODO")


plots.figure(
    draw,
    name="fig-@NAME@",
    alt="TODO: what the figure shows, for who cannot see it.",
    caption="TODO: what to look at.",
)
%% markdown
```{admonition} Why
:class: dropdown
TODO: the answer, and its reason.
```

## Where it stops being true

**TODO.** A case in which the chapter's answer fails.

## Exercises
"""
EXERCISE = """
%% markdown
```{exercise} TODO
:label: ex-@NAME@-@EXERCISE@

*@TIME@.* TODO: what `answer` is.
```
%% code exercise-stub
@STUB@
check("@NAME@-@EXERCISE@", answer)
%% markdown
```{admonition} Hint
:class: dropdown
TODO
```

```{solution-start} ex-@NAME@-@EXERCISE@
:class: dropdown
```
TODO: why it is right.
%% code exercise-solution hide-input
@SOLUTION@
check("@NAME@-@EXERCISE@", answer)
%% markdown
```{solution-end}
```
"""
CLOSING = """
%% markdown
## What to remember

- TODO

## Further reading

- {cite:t}`li2020efficient`: TODO, what to read there.
"""
FUNCTION = "def answer(n):\n    ...  # TODO\n\n", "def answer(n):\n    return n  # TODO\n\n"
VALUE = 'answer = {"TODO": ...}', 'answer = {"TODO": 1}'


def checked_name(name: str) -> str:
    """*name* where it can be a chapter's; raises ValueError otherwise."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ValueError(f"NAME must be words of small letters and digits with hyphens between; got {name!r}: "
                         "my-chapter would do")  # fmt: skip
    return name


def skeleton(name: str) -> dict[str, Any]:
    """The notebook of the chapter *name*, its set-up cell still empty; raises ValueError for what is no name."""
    checked_name(name)
    exercises = [("first", "Five minutes", FUNCTION), ("second", "Twenty minutes", FUNCTION), ("own", "Open", VALUE)]
    text = OPENING
    for exercise, time, (stub, solution) in exercises:
        text += _filled(EXERCISE, exercise=exercise, time=time, stub=stub, solution=solution)
    text = _filled(text + CLOSING, name=name, title=name.replace("-", " ").capitalize())
    cells = []
    for cell in text.split("\n%% ")[1:]:
        head, _, source = cell.partition("\n")
        kind, *tags = head.split()
        cells.append({"cell_type": kind, "metadata": {"tags": tags} if tags else {}, "source": source.strip("\n")})
    promise = {"read_minutes": 15, "exercise_minutes": 25, "laptop_seconds": 60, "full": "the same as laptop"}
    return {"cells": cells, "metadata": {"blockprune": promise}}


def _filled(text: str, **words: str) -> str:
    for word, value in words.items():
        text = text.replace(f"@{word.upper()}@", value)
    return text


def left_to_do(name: str) -> str:
    """Where a new chapter has to be named besides its notebook."""
    file = name.replace("-", "_")
    return (
        f"Then: a checker for each exercise in blockprune_lib/teaching/checkers/{file}.py, and its usual slips in "
        "tests/teaching/test_slips.py; a line in _toc.yml and in README's table."
    )
