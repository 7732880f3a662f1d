"""Pairs of sentences: paraphrase, similarity, inference, question and answer, and Winograd's schemas.

Every public function takes the dice and the label wanted, and returns (first text, second text, label) with GLUE's
labels: mrpc, qqp 1 the same; mnli 0 entailed, 1 neutral, 2 contradicted; rte, qnli 0 entailed (answered), 1 not;
wnli 1 right; stsb a number from 0 to 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import events
from .events import Event, indefinite, plural, tell
from .vocabulary import PEOPLE, PLACES, THINGS, WINOGRAD_PEOPLE, WINOGRAD_THINGS, Dice, sentence

Pair = tuple[str, str, int]
Change = Callable[[Dice, Event], Event | None]

# {e}: an event that somebody takes for true. After the first it is true, after the others nobody knows.
FACTIVE = ("the {p} knew that {e}", "the {p} was glad that {e}", "the {p} noticed that {e}", "the {p} forgot that {e}")
OPEN = ("the {p} hoped that {e}", "the {p} claimed that {e}", "the {p} feared that {e}", "some say that {e}")


def paraphrase(dice: Dice, label: int) -> Pair:
    """Two sentences about an event: the same event told differently (1), or one that differs in one respect (0)."""
    event = events.draw(dice, details=dice.pick((1, 2)))
    other = event if label else events.changed(dice, event)
    second = events.retell(dice, events.reworded(dice, other))
    return sentence(events.retell(dice, event)), sentence(second), label


def similarity(dice: Dice, label: int) -> tuple[str, str, float]:
    """Two sentences and their similarity: 5 less the price of each difference, 0 for unrelated events."""
    prices: tuple[tuple[Change, float], ...] = (
        (events.other_number, 0.6), (events.other_place, 0.8), (events.other_time, 0.8),
        (lambda _, event: replace(event, place="") if event.place else None, 0.4),
        (lambda _, event: replace(event, time="") if event.time else None, 0.4),
        (events.close_target, 1.0), (events.swap_roles, 1.4), (events.negate, 1.4),
        (events.other_doer, 1.5), (events.other_target, 1.8), (events.reverse, 1.8),
    )  # fmt: skip
    event = events.draw(dice)
    first = sentence(events.retell(dice, event))
    if label == 0:
        other = events.draw(dice, on_person=not event.on_person)
        return first, sentence(events.retell(dice, other)), 0.0
    while True:
        other, price = event, 0.0
        for change, cost in dice.sample(prices, 5 - label if label < 4 else min(1, 5 - label)):
            if (result := change(dice, other)) is not None:
                other, price = result, price + cost
        if label - 0.5 <= 5 - price < label + 0.5 and (other != event or label == 5):
            second = events.retell(dice, events.reworded(dice, other))
            return first, sentence(second), round(5 - price, 1)


# --- inference: rte and mnli ---


def entailment(dice: Dice, label: int) -> Pair:
    """A text and a hypothesis that follows from it (0), or does not (1): unknown and wrong in equal parts."""
    first, second, _ = inference(dice, 0 if label == 0 else dice.pick((1, 2)))
    return first, second, label


def inference(dice: Dice, label: int) -> Pair:
    """A premise and a hypothesis that follows (0), may or may not be true (1), or is wrong (2)."""
    event = events.draw(dice, details=1)
    if dice.chance(0.3):
        event = replace(event, negated=True, place="", time="", number="")
    aside = events.draw(dice, details=0, numbers=False)
    premise, told, cross = _premise(dice, event, aside, open_question=label == 1 and dice.chance(0.25))
    if label == 0 or (label == 1 and told == "open"):
        said = _weaker(dice, event)
    elif label == 2:
        said = _wrong(dice, event)
    else:
        said = _unknown(dice, event, aside if cross else None)
    return sentence(premise), sentence(said), label


def _premise(dice: Dice, event: Event, aside: Event, open_question: bool) -> tuple[str, str, bool]:
    """The text, whether it leaves the event open, and whether the other event stands in it too."""
    alone = events.retell(dice, event)
    clause = tell(event, passive=dice.chance(0.3))  # inside another clause no detail can stand in front
    if open_question:
        return dice.pick(OPEN).format(p=aside.doer, e=clause), "open", False
    form = dice.pick(("alone", "alone", "alone", "fact", "both", "both"))
    if form == "alone":
        return alone, "true", False
    if form == "fact":
        return dice.pick(FACTIVE).format(p=aside.doer, e=clause), "true", False
    frame = dice.pick(("{e}, and {o}", "{o}, and {e}", "{e}, while {o}", "{o} after {e}"))
    return frame.format(e=clause, o=tell(aside)), "true", True


def _weaker(dice: Dice, event: Event, keep_details: bool = False) -> str:
    """Something that follows from the event: other words, a detail dropped, a kind in place of its member."""
    doer = thing = ""
    if not event.negated:  # "no violinist came" does not mean that no musician came
        if dice.chance(0.2):
            doer = indefinite(event.doer_kind)
        elif dice.chance(0.2):
            thing = f"{event.number} {plural(event.target_kind)}" if event.number else indefinite(event.target_kind)
        if not keep_details and dice.chance(0.4):
            event = replace(event, place="", time="")
    return tell(events.reworded(dice, event), passive=dice.chance(0.3), doer=doer, thing=thing)


def _wrong(dice: Dice, event: Event) -> str:
    """Something that cannot be true beside the event."""
    other = None
    while other is None:
        changes = (events.negate, events.negate, events.reverse, events.other_number)
        other = (events.negate if event.negated else dice.pick(changes))(dice, event)
    if not event.negated and dice.chance(0.5) and not other.negated:
        other = replace(other, place="", time="")
    return tell(events.reworded(dice, other), passive=dice.chance(0.3))


def _unknown(dice: Dice, event: Event, aside: Event | None) -> str:
    """Something that the event leaves open: roles swapped, doers mixed up, another doer or target, a new detail."""
    changes = (*(events.other_doer, events.other_target) * 2, events.swap_roles, _new_detail)
    other = replace(event, doer=aside.doer, doer_kind=aside.doer_kind) if aside and dice.chance(0.3) else None
    while other is None:
        other = dice.pick(changes)(dice, event)
    return _weaker(dice, other, keep_details=(other.place, other.time) != (event.place, event.time))


def _new_detail(dice: Dice, event: Event) -> Event | None:
    extra = events.draw(dice, details=2)
    if event.negated:
        return None
    return replace(event, time=extra.time) if not event.time else replace(event, place=extra.place)


# --- questions: qnli and qqp ---


def answer(dice: Dice, label: int) -> Pair:
    """A question about an event, and a sentence that answers it (0) or only seems to (1)."""
    event = events.draw(dice)
    verb, thing = event.verb, events.target_phrase(event)
    who = f"who {verb.past} {thing} {event.place}?"
    what = f"{'whom' if event.on_person else 'what'} did the {event.doer} {verb.base} {event.place}?"
    where = f"where did the {event.doer} {verb.base} {thing}?"
    when = f"when was {thing} {verb.past} by the {event.doer}?" if not event.number else ""
    how_many = f"how many {plural(event.target)} did the {event.doer} {verb.base}?" if event.number else ""
    asked, question = dice.pick([(k, q) for k, q in enumerate((who, what, where, when, how_many)) if q])
    if label == 0:
        told = events.reworded(dice, event)
        told = replace(told, time="") if asked != 3 and dice.chance(0.5) else told
        text = events.retell(dice, told)
    elif dice.chance(0.5):
        text = _unanswered(dice, event, asked)
    else:  # an answer to another question
        changes = (events.other_doer, events.other_doer, events.reverse)
        change = events.other_target if asked == 0 else dice.pick(changes)
        text = events.retell(dice, change(dice, event) or event)
    return sentence(question), sentence(text), label


def _unanswered(dice: Dice, event: Event, asked: int) -> str:
    """The event told without what was asked for: doer, target, place, time or number."""
    event = events.reworded(dice, event)
    if asked == 0:
        be = "were" if event.number else "was"
        return f"{events.target_phrase(event)} {be} {event.verb.past} {event.place} {event.time}"
    if asked == 1:
        return tell(event, thing="somebody" if event.on_person else "something", front=dice.chance(0.3))
    if asked in (2, 3):
        return events.retell(dice, replace(event, place="") if asked == 2 else replace(event, time=""))
    return tell(event, thing=f"some {plural(event.target)}", front=dice.chance(0.3))


def same_question(dice: Dice, label: int) -> Pair:
    """Two questions that ask the same (1), or nearly (0)."""
    return dice.pick((_how_to, _how_to, _way, _better, _why, _why))(dice, label)


def _how_to(dice: Dice, label: int) -> Pair:
    event = replace(events.draw(dice, on_person=False, numbers=False), time="")
    changes = (events.reverse, events.close_target, events.other_target, events.other_place)
    other = _asked_about(dice, event, label, changes)
    frames = (
        "how can I {v} {t} {w}?", "what is the best way to {v} {t} {w}?", "how do people {v} {t} {w}?",
        "what should I do if I want to {v} {t} {w}?", "is there a good way to {v} {t} {w}?",
    )  # fmt: skip
    first, second = ({"v": e.verb.base, "t": indefinite(e.target), "w": e.place} for e in (event, other))
    return _framed(dice, frames, first, second, label)


def _way(dice: Dice, label: int) -> Pair:
    start, goal = (" ".join(place.split()[1:]) for place in dice.sample(PLACES.seen, 2))
    frames = (
        "how do I get from {a} to {b}?",
        "what is the way to {b} from {a}?",
        "how far is it to {b} if I start from {a}?",
        "starting from {a}, how do I reach {b}?",
    )
    there, back = {"a": start, "b": goal}, {"a": goal, "b": start}
    return _framed(dice, frames, there, there if label else back, label)


def _better(dice: Dice, label: int) -> Pair:
    one, two = (indefinite(dice.word(THINGS[kind])) for kind in dice.sample(tuple(THINGS), 2))
    frames = (
        ("is {a} better than {b}?", "is {b} worse than {a}?", "do people prefer {a} to {b}?"),
        ("is {a} cheaper than {b}?", "does {b} cost more than {a}?", "is {b} more expensive than {a}?"),
        ("is {a} heavier than {b}?", "does {b} weigh less than {a}?", "is {b} lighter than {a}?"),
    )
    same, swapped = {"a": one, "b": two}, {"a": two, "b": one}
    return _framed(dice, dice.pick(frames), same, same if label else swapped, label)


def _why(dice: Dice, label: int) -> Pair:
    event = events.draw(dice, on_person=True, details=0)
    changes = (events.swap_roles, events.swap_roles, events.reverse, events.other_doer)
    other = _asked_about(dice, event, label, changes)
    frames = (
        "why did the {d} {v} the {t}?",
        "what made the {d} {v} the {t}?",
        "why was the {t} {p} by the {d}?",
        "for what reason was the {t} {p} by the {d}?",
    )
    first, second = ({"d": e.doer, "v": e.verb.base, "p": e.verb.past, "t": e.target} for e in (event, other))
    return _framed(dice, frames, first, second, label)


def _asked_about(dice: Dice, event: Event, label: int, changes: tuple[Change, ...]) -> Event:
    """What the second question is about: the same event (1), or one of the changes (0), perhaps reworded."""
    other = event if label else dice.pick(changes)(dice, event) or event
    return events.reworded(dice, other)


def _framed(dice: Dice, frames: tuple[str, ...], first: dict[str, str], second: dict[str, str], label: int) -> Pair:
    """Two of the frames, with the words of the first and of the second question."""
    one, two = dice.sample(frames, 2)
    return sentence(one.format(**first)), sentence(two.format(**second)), label


# --- Winograd's schemas: wnli ---


def winograd(dice: Dice, label: int) -> Pair:
    """A sentence with a pronoun, and a sentence that puts a noun in its place: the right one (1) or the wrong (0)."""
    schema = dice.pick(WINOGRAD_THINGS + WINOGRAD_PEOPLE)
    of_things = schema in WINOGRAD_THINGS
    table = THINGS if of_things else PEOPLE
    one, two = (dice.word(table[kind]) for kind in dice.sample(tuple(table), 2))
    is_first = dice.chance(0.5)
    word = dice.word(schema.first if is_first else schema.second)
    noun = one if is_first == bool(label) else two
    pronoun = "it" if of_things else dice.pick(("he", "she"))
    text = schema.text.format(a=one, b=two, w=word, x=pronoun)
    return sentence(text), sentence(schema.clause.format(x=noun, w=word)), label
