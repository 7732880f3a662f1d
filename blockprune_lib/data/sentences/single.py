"""Single sentences: opinions (sst2) and grammar (cola), each composed so that its label is known.

Every public function takes the dice and the label wanted, and returns (sentence, label).
"""

from __future__ import annotations

from . import vocabulary as words
from .events import plural
from .vocabulary import Dice, Meaning, Verb, sentence

# {a}: what is judged; {w}: an adjective; {i}: an intensifier. STRAIGHT keeps the adjective's side, TURNED reverses it.
STRAIGHT = (
    "{a} is {w}", "{a} is {i} {w}", "{a} turned out to be {w}", "I found {a} {i} {w}", "{a} could hardly be more {w}",
    "{a} never stops being {w}", "nobody can deny that {a} is {w}", "{a} is nothing if not {w}",
    "it is not for nothing that people call {a} {w}", "{a} is not only {w} but {i} so",
)  # fmt: skip
TURNED = (
    "{a} is not {w}", "{a} is not {i} {w}", "{a} is never {w}", "{a} is far from {w}", "{a} is anything but {w}",
    "{a} is hardly {w}", "nobody could call {a} {w}", "I cannot say that {a} is {w}", "there is nothing {w} about {a}",
    "{a} has stopped being {w}", "it would be wrong to call {a} {w}",
)  # fmt: skip
# {m}: the clause that decides; {o}: the clause that does not.
CONTRASTS = (
    "although {o}, {m}", "{o}, but {m}", "{m}, even though {o}", "{o}; still, {m}", "{m}, although {o}",
    "while it is true that {o}, {m}", "yes, {o}, and yet what counts is that {m}",
    "what counts is that {m}, even if {o}",
)  # fmt: skip
TOGETHER = ("{m}, and {o}", "both are true: {m} and {o}", "{m}; what is more, {o}")
AGREEING = ("{m}, and {h} says so too", "{h} thinks that {m}, and I agree", "just as {h} said, {m}")
DISAGREEING = (
    "{h} thinks that {o}, and I disagree",
    "{h} told me that {o}, which is wrong",
    "{h} is mistaken to say that {o}",
)


def opinion(dice: Dice, label: int) -> tuple[str, int]:
    """A judgement of a film, novel, concert, play, restaurant, hotel, phone or train; 1 is positive.

    Half of the sentences are one clause; most of the others set a clause against one of the opposite opinion.
    """
    aspects = dice.pick((words.ART_ASPECTS, words.USE_ASPECTS))
    topic = dice.pick(tuple(aspects))
    first = dice.word(aspects[topic])
    second = dice.word(aspects[topic], but=first)
    main, other = _judgement(dice, topic, first, label), _judgement(dice, topic, second, 1 - label)
    form = dice.pick(("plain",) * 6 + ("both",) * 2 + ("contrast",) * 2 + ("holder",) * 1)
    if form == "plain":
        text = main
    elif form == "both":
        text = dice.pick(TOGETHER).format(m=main, o=_judgement(dice, topic, second, label))
    elif form == "contrast":
        text = dice.pick(CONTRASTS).format(m=main, o=other)
    else:
        text = dice.pick(AGREEING + DISAGREEING).format(m=main, o=other, h=dice.word(words.HOLDERS))
    return sentence(text), label


def _judgement(dice: Dice, topic: str, aspect: str, label: int) -> str:
    turned, art = dice.chance(0.12), topic in words.ART_ASPECTS
    special = (words.NEGATIVE_ART, words.POSITIVE_ART) if art else (words.NEGATIVE_USE, words.POSITIVE_USE)
    adjective = dice.word(dice.pick(((words.NEGATIVE, words.POSITIVE), special))[label != turned])
    judged = dice.pick(("the {a}", "the {a}", "the {a} of this {t}", "this {t}'s {a}")).format(a=aspect, t=topic)
    return dice.pick(TURNED if turned else STRAIGHT).format(a=judged, w=adjective, i=dice.word(words.INTENSIFIERS))


def acceptability(dice: Dice, label: int) -> tuple[str, int]:
    """A sentence that is grammatical (1), or the same kind of sentence with one thing broken (0)."""
    good, bad = dice.pick(RULES)(dice)
    opening = "" if good.endswith("?") else dice.pick(("", "", "I know that ", "it seems that ", "they say that "))
    return sentence(opening + (good if label else bad)), label


def _person(dice: Dice) -> str:
    return dice.word(words.PEOPLE[dice.pick(tuple(words.PEOPLE))])


def _thing(dice: Dice) -> str:
    return dice.word(words.THINGS[dice.pick(tuple(words.THINGS))])


def _verb(dice: Dice, meanings: tuple[Meaning, ...] = words.THING_MEANINGS) -> Verb:
    meaning = dice.pick(meanings)
    return dice.among(meaning.verbs + meaning.opposites, meaning.unseen)


def _with_each(text: str, pair: tuple[str, str]) -> tuple[str, str]:
    """The text with the right and with the wrong words in place of the star."""
    return text.replace("*", pair[0]), text.replace("*", pair[1])


def _agreement(dice: Dice) -> tuple[str, str]:
    head, near = _thing(dice), _person(dice)
    adjective = dice.pick(("old", "heavy", "new", "famous", "broken", "missing"))
    link = dice.pick(("of", "near", "behind", "next to"))
    if dice.chance(0.5):
        return _with_each(f"the {plural(head)} {link} the {near} * {adjective}", ("are", "is"))
    return _with_each(f"the {head} {link} the {plural(near)} * {adjective}", ("is", "are"))


def _determiner(dice: Dice) -> tuple[str, str]:
    thing, person, verb = _thing(dice), _person(dice), _verb(dice).past
    one, many = dice.pick((("this", "these"), ("that", "those"), ("every", "all"), ("each", "several")))
    place = dice.word(words.PLACES)
    if dice.chance(0.5):
        return _with_each(f"the {person} {verb} * {thing} {place}", (one, many))
    return _with_each(f"the {person} {verb} * {plural(thing)} {place}", (many, one))


def _verb_form(dice: Dice) -> tuple[str, str]:
    person, thing, verb = _person(dice), _thing(dice), _verb(dice)
    forms = (
        (f"did not {verb.base}", f"did not {verb.past}"),
        (f"has {verb.past}", f"has {verb.base}"),
        (f"will {verb.base}", f"will {verb.past}"),
        (f"wants to {verb.base}", f"wants to {verb.past}"),
        (f"could have {verb.past}", f"could have {verb.base}"),
    )
    return _with_each(f"the {person} * the {thing}", dice.pick(forms))


def _reflexive(dice: Dice) -> tuple[str, str]:
    verb, other = _verb(dice, words.PERSON_MEANINGS).past, _person(dice)
    subjects = (
        ("the girl", "herself", "himself"), ("the boy", "himself", "herself"), ("the women", "themselves", "herself"),
        ("my brothers", "themselves", "himself"), ("we", "ourselves", "yourself"),
    )  # fmt: skip
    doer, *pronouns = dice.pick(subjects)
    near = dice.pick(("", f" near the {other}", f" who knew the {other}")) if doer != "we" else ""
    return _with_each(f"{doer}{near} {verb} *", (pronouns[0], pronouns[1]))


def _ever(dice: Dice) -> tuple[str, str]:
    person, thing, verb = _person(dice), _thing(dice), _verb(dice).past
    good = dice.pick((f"no {person}", f"not one {person}", f"hardly any {person}"))
    bad = dice.pick((f"some {person}", f"that one {person}", f"almost every {person}"))
    return _with_each(f"* has ever {verb} a {thing}", (good, bad))


def _comparative(dice: Dice) -> tuple[str, str]:
    one, two = dice.sample((_person(dice), "girl", "teacher"), 2)
    forms = (
        ("taller than", "more taller than"), ("taller than", "tall than"), ("as tall as", "as taller as"),
        ("more careful than", "carefuller than"), ("more careful than", "most careful than"),
        ("less nervous than", "less nervous as"),
    )  # fmt: skip
    return _with_each(f"the {one} is * the {two}", dice.pick(forms))


def _order(dice: Dice) -> tuple[str, str]:
    person, thing, verb, place = _person(dice), _thing(dice), _verb(dice).past, dice.word(words.PLACES)
    orders = (
        f"the {person} the {thing} {verb} {place}",
        f"{person} the {verb} the {thing} {place}",
        f"the {person} {verb} {thing} the {place}",
        f"{verb} the {person} the {thing} {place}",
    )
    return f"the {person} {verb} the {thing} {place}", dice.pick(orders)


def _question(dice: Dice) -> tuple[str, str]:
    person, thing, verb = _person(dice), _thing(dice), _verb(dice)
    questions = (
        (f"what did the {person} {verb.base}?", f"what did the {person} {verb.base} the {thing}?"),
        (f"who {verb.past} the {thing}?", f"who the {person} {verb.past} the {thing}?"),
        (f"where did the {person} {verb.base} the {thing}?", f"where the {person} did {verb.base} the {thing}?"),
    )
    return dice.pick(questions)


RULES = (_agreement, _determiner, _verb_form, _reflexive, _ever, _comparative, _order, _question)
