"""Events: who did what to whom, how many, where and when; told in many ways, and changed in known ways."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .vocabulary import NUMBERS, PEOPLE, PERSON_MEANINGS, PLACES, THING_MEANINGS, THINGS, TIMES, Dice, Meaning, Verb


@dataclass(frozen=True)
class Event:
    """The doer did the verb to the target (a person, one thing, or `number` things), or did not."""

    doer: str
    doer_kind: str
    meaning: Meaning
    opposite: bool
    verb: Verb
    target: str
    target_kind: str
    number: str = ""
    place: str = ""
    time: str = ""
    negated: bool = False

    @property
    def on_person(self) -> bool:
        """Whether the target is a person, so that the roles can be swapped."""
        return self.target_kind in PEOPLE


def draw(dice: Dice, *, on_person: bool | None = None, details: int = 2, numbers: bool = True) -> Event:
    """A random event with at most `details` of a place and a time (0, 1 or 2)."""
    if on_person is None:
        on_person = dice.chance(0.5)
    meaning = dice.pick(PERSON_MEANINGS if on_person else THING_MEANINGS)
    doer_kind, other_kind = dice.sample(tuple(PEOPLE), 2)
    target_kind = other_kind if on_person else dice.pick(tuple(THINGS))
    opposite = dice.chance(0.4)
    place, time = dice.word(PLACES), dice.word(TIMES)
    if details < 2:
        place, time = dice.pick(((place, ""), ("", time))) if details else ("", "")
    doer, verb = dice.word(PEOPLE[doer_kind]), _verb(dice, meaning, opposite)
    target = dice.word((PEOPLE if on_person else THINGS)[target_kind])
    number = dice.word(NUMBERS) if numbers and not on_person and dice.chance(0.3) else ""
    return Event(doer, doer_kind, meaning, opposite, verb, target, target_kind, number, place, time)


def _verb(dice: Dice, meaning: Meaning, opposite: bool) -> Verb:
    return dice.pick(meaning.opposites) if opposite else dice.among(meaning.verbs, meaning.unseen)


def plural(noun: str) -> str:
    """Plural of a noun of the vocabulary.

    >>> plural("cherry"), plural("toy"), plural("box"), plural("shelf"), plural("piece of furniture")
    ('cherries', 'toys', 'boxes', 'shelves', 'pieces of furniture')
    """
    noun, of, rest = noun.partition(" of ")
    if noun.endswith("f") and not noun.endswith("rf"):
        noun = noun[:-1] + "ves"
    elif noun.endswith("y") and noun[-2] not in "aeiou":
        noun = noun[:-1] + "ies"
    else:
        noun += "es" if noun.endswith(("s", "x", "ch", "sh", "to", "go")) else "s"
    return noun + of + rest


def indefinite(noun: str) -> str:
    """The noun with "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def target_phrase(event: Event) -> str:
    """The target with its article or number."""
    return f"{event.number} {plural(event.target)}" if event.number else f"the {event.target}"


def tell(event: Event, passive: bool = False, front: bool = False, doer: str = "", thing: str = "") -> str:
    """The event as a clause; `doer` and `thing` name who and what in other words, `front` puts the time first."""
    doer, thing = doer or f"the {event.doer}", thing or target_phrase(event)
    if passive:
        be = "were" if event.number else "was"
        core = f"{thing} {be} {'not ' if event.negated else ''}{event.verb.past} by {doer}"
    else:
        core = f"{doer} {'did not ' + event.verb.base if event.negated else event.verb.past} {thing}"
    parts = [f"{event.time},", core, event.place] if front and event.time else [core, event.place, event.time]
    return " ".join(filter(None, parts))


def retell(dice: Dice, event: Event) -> str:
    """The event in active or passive voice and in random order, with all its details."""
    return tell(event, passive=dice.chance(0.3), front=dice.chance(0.3))


def reworded(dice: Dice, event: Event) -> Event:
    """The same event, its verb in two of five cases replaced by one that says the same."""
    return replace(event, verb=_verb(dice, event.meaning, event.opposite)) if dice.chance(0.4) else event


# --- changes: each makes a different event, or returns None where the event has nothing to change ---


def swap_roles(dice: Dice, event: Event) -> Event | None:
    """The target did it to the doer."""
    if not event.on_person:
        return None
    target, kind = event.doer, event.doer_kind
    return replace(event, doer=event.target, doer_kind=event.target_kind, target=target, target_kind=kind)


def reverse(dice: Dice, event: Event) -> Event | None:
    """The opposite was done."""
    opposite = not event.opposite
    return replace(event, opposite=opposite, verb=_verb(dice, event.meaning, opposite))


def negate(dice: Dice, event: Event) -> Event | None:
    """It was not done (or it was, where the event says it was not)."""
    return replace(event, negated=not event.negated)


def other_number(dice: Dice, event: Event) -> Event | None:
    """Another number of things."""
    return replace(event, number=dice.word(NUMBERS, but=event.number)) if event.number else None


def other_place(dice: Dice, event: Event) -> Event | None:
    """Somewhere else."""
    return replace(event, place=dice.word(PLACES, but=event.place)) if event.place else None


def other_time(dice: Dice, event: Event) -> Event | None:
    """At another time."""
    return replace(event, time=dice.word(TIMES, but=event.time)) if event.time else None


def other_doer(dice: Dice, event: Event) -> Event | None:
    """Somebody else of another kind did it."""
    kind = dice.pick([kind for kind in PEOPLE if kind not in (event.doer_kind, event.target_kind)])
    return replace(event, doer=dice.word(PEOPLE[kind]), doer_kind=kind)


def other_target(dice: Dice, event: Event) -> Event | None:
    """It was done to another thing or person, of another kind."""
    table = PEOPLE if event.on_person else THINGS
    kind = dice.pick([kind for kind in table if kind not in (event.doer_kind, event.target_kind)])
    return replace(event, target=dice.word(table[kind]), target_kind=kind)


def close_target(dice: Dice, event: Event) -> Event | None:
    """It was done to another thing or person of the same kind."""
    table = PEOPLE if event.on_person else THINGS
    return replace(event, target=dice.word(table[event.target_kind], but=event.target))


# Changes that show in the words alone come more often than those of order or meaning: else a short training would find
# nothing to start from.
CHANGES = (
    *(negate, other_doer, other_target) * 2,
    *(swap_roles, reverse, other_number, other_place, other_time, close_target),
)


def changed(dice: Dice, event: Event) -> Event:
    """A different event, by one of the `CHANGES`."""
    while (other := dice.pick(CHANGES)(dice, event)) is None:
        pass
    return other
