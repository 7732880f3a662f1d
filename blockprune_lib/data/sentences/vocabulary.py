"""The words that the built-in sentences are made of, and the dice that choose them.

A bar separates words seen in training from words that only validation sentences use: they mean the same to anyone
who knows English, and to a model that was pre-trained on it. An underscore stands for a space.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Words(NamedTuple):
    """Words of one kind: those of the training sentences, and those held out for validation."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


class Verb(NamedTuple):
    """A transitive verb: "buy", "bought" (past tense and participle alike)."""

    base: str
    past: str


class Meaning(NamedTuple):
    """Verbs that say the same, one held out for validation, and verbs that say the opposite."""

    verbs: tuple[Verb, ...]
    unseen: tuple[Verb, ...]
    opposites: tuple[Verb, ...]


class Dice:
    """Seeded choices; only `random.random`, whose sequence Python guarantees, is used."""

    def __init__(self, key: str, unseen: float = 0.0) -> None:
        self._random = random.Random(key).random
        self._unseen = unseen

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return self._random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self._random() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items, in random order."""
        rest = list(items)
        return [rest.pop(int(self._random() * len(rest))) for _ in range(count)]

    def among(self, seen: Sequence[T], unseen: Sequence[T]) -> T:
        """One of the seen items, or in validation text sometimes one of those held out."""
        return self.pick(unseen if unseen and self.chance(self._unseen) else seen)

    def word(self, words: Words, but: str = "") -> str:
        """One of the words other than `but`, held out or not as in `among`."""
        while (word := self.among(words.seen, words.unseen)) == but:
            pass
        return word


def words(text: str) -> Words:
    """Read "seen seen | unseen" into `Words`.

    >>> words("red dark_blue | green")
    Words(seen=('red', 'dark blue'), unseen=('green',))
    """
    return Words(*(tuple(word.replace("_", " ") for word in part.split()) for part in text.partition("|")[::2]))


def sentence(text: str) -> str:
    """The text with a capital, and with a full stop where it has no closing mark yet.

    >>> sentence("the soup, although cold, was good")
    'The soup, although cold, was good.'
    """
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!" else text + "."


def _kinds(text: str) -> dict[str, Words]:
    lines = (line.split(":") for line in text.strip().splitlines())
    return {kind.strip().replace("_", " "): words(members) for kind, members in lines}


def _verbs(text: str) -> tuple[Verb, ...]:
    return tuple(Verb(*pair.replace("_", " ").split(":")) for pair in text.split())


def _meanings(text: str) -> tuple[Meaning, ...]:
    return tuple(Meaning(*map(_verbs, re.split("[|/]", line))) for line in text.strip().splitlines())


# --- opinions (sst2) ---

# Fit anything; then, what fits works of art, and what fits things and services.
POSITIVE = words(
    "good excellent wonderful charming brilliant impressive remarkable lovely memorable beautiful elegant splendid "
    "pleasant fresh perfect great admirable first-rate outstanding inspired | delightful superb fantastic exquisite "
    "marvellous stunning terrific magnificent"
)
NEGATIVE = words(
    "bad terrible horrible dull ugly disappointing annoying irritating cheap bland sloppy unpleasant depressing poor "
    "boring ridiculous dreary shabby inferior second-rate | awful dreadful mediocre pathetic atrocious tasteless "
    "lousy miserable"
)
POSITIVE_ART = words(
    "moving funny clever lively gripping touching witty tender graceful rewarding absorbing joyful convincing sincere "
    "thoughtful imaginative entertaining | captivating heartfelt hilarious engaging"
)
NEGATIVE_ART = words(
    "clumsy tedious shallow stale awkward lifeless predictable forgettable hollow pointless confusing childish "
    "careless tiresome pretentious silly wooden lazy | monotonous laughable repetitive amateurish"
)
POSITIVE_USE = words(
    "comfortable reliable generous spotless modern tasteful flawless inviting satisfying well-made "
    "| enjoyable refreshing"
)
NEGATIVE_USE = words("messy noisy dirty weak broken useless outdated faulty neglected worn-out | unbearable defective")
ART_ASPECTS = _kinds("""
    film: plot acting script ending pacing dialogue camerawork soundtrack humour cast finale | lighting editing
    novel: story prose opening last_chapter plot style mystery humour love_story | preface translation
    concert: singing first_song conducting encore choir rhythm second_half | soprano melody
    play: first_act leading_actor monologue staging chorus dialogue last_scene | music direction
""")
USE_ASPECTS = _kinds("""
    restaurant: food service kitchen dessert menu terrace furniture breakfast | decor cutlery
    hotel: room bed lobby service pool balcony bathroom furniture | garden reception
    phone: screen design camera keyboard sound battery software | charger display
    train: seat heating dining_car sleeping_car timetable toilet | coach luggage_rack
""")
INTENSIFIERS = words("very really quite truly remarkably rather extremely | awfully thoroughly")
HOLDERS = words(
    "my_sister the_critic my_neighbour everybody_around_me a_friend the_reviewer my_father | our_guide my_boss"
)

# --- people, things, places, times (every pair task) ---

PEOPLE = _kinds("""
    musician: violinist pianist drummer singer trumpeter | guitarist cellist
    doctor: surgeon dentist psychiatrist vet | cardiologist
    athlete: swimmer boxer gymnast sprinter goalkeeper | cyclist wrestler
    artist: painter sculptor potter photographer | illustrator
    scientist: chemist physicist biologist geologist | astronomer botanist
    official: mayor senator judge ambassador minister | governor
    worker: plumber carpenter mechanic electrician gardener | welder bricklayer
    relative: aunt uncle cousin grandmother | nephew
    soldier: general sergeant colonel captain | lieutenant
    writer: poet novelist journalist biographer | playwright
    cook: chef baker pastry_chef | caterer
    student: freshman graduate pupil apprentice | trainee
""")
THINGS = _kinds("""
    fruit: apple pear peach plum lemon | mango cherry
    vegetable: carrot onion cabbage potato pumpkin | turnip
    instrument: guitar trumpet violin drum flute | cello
    vehicle: truck van bus tractor bicycle | motorcycle
    tool: hammer saw drill ladder shovel | wrench
    garment: coat scarf sweater shirt hat | jacket
    piece_of_furniture: table sofa shelf bed chair | wardrobe
    animal: dog horse goat parrot rabbit cow | donkey
    document: letter contract report map passport | diary
    jewel: necklace ring bracelet crown | brooch
    container: bottle basket jug box bucket | barrel
    toy: kite doll puzzle balloon | teddy_bear
""")
PLACES = words(
    "in_the_garden at_the_market near_the_harbour in_the_library behind_the_station on_the_ferry at_the_airport "
    "in_the_kitchen at_the_museum near_the_bridge in_the_village at_the_office on_the_beach in_the_theatre "
    "outside_the_church in_the_basement | at_the_stadium in_the_forest near_the_castle on_the_balcony"
)
TIMES = words(
    "on_Monday on_Tuesday on_Friday on_Sunday in_the_morning last_winter last_summer after_lunch before_dawn "
    "at_midnight in_April in_October two_days_ago during_the_storm | on_Thursday in_the_evening in_March last_autumn"
)
NUMBERS = words("two three four five six seven eight nine | ten twelve")

# Done to a thing; then, done to a person, where who did what to whom matters.
THING_MEANINGS = _meanings("""
    buy:bought purchase:purchased | acquire:acquired / sell:sold
    find:found discover:discovered | locate:located / lose:lost misplace:misplaced
    inspect:inspected examine:examined | study:studied / overlook:overlooked neglect:neglected
    conceal:concealed | mask:masked / display:displayed reveal:revealed expose:exposed
    clean:cleaned wash:washed | scrub:scrubbed / stain:stained soil:soiled
    accept:accepted receive:received | welcome:welcomed / refuse:refused reject:rejected
    keep:kept retain:retained | preserve:preserved / discard:discarded abandon:abandoned
    lift:lifted raise:raised | hoist:hoisted / lower:lowered drop:dropped
    protect:protected guard:guarded | shield:shielded / damage:damaged destroy:destroyed wreck:wrecked
    select:selected pick:picked | favour:favoured / exclude:excluded omit:omitted
    like:liked enjoy:enjoyed | adore:adored / hate:hated dislike:disliked
    push:pushed shove:shoved | press:pressed / pull:pulled drag:dragged
""")
PERSON_MEANINGS = _meanings("""
    praise:praised compliment:complimented | applaud:applauded / criticise:criticised blame:blamed
    help:helped assist:assisted | support:supported / hinder:hindered obstruct:obstructed
    hire:hired employ:employed | recruit:recruited / fire:fired dismiss:dismissed
    rescue:rescued save:saved | free:freed / abandon:abandoned desert:deserted
    trust:trusted believe:believed | rely_on:relied_on / doubt:doubted suspect:suspected
    defend:defended protect:protected | shield:shielded / attack:attacked assault:assaulted
    admire:admired respect:respected | esteem:esteemed / despise:despised scorn:scorned
    meet:met encounter:encountered | bump_into:bumped_into / avoid:avoided evade:evaded
    greet:greeted welcome:welcomed | salute:saluted / ignore:ignored snub:snubbed
    calm:calmed soothe:soothed | comfort:comforted / upset:upset annoy:annoyed
    love:loved cherish:cherished | adore:adored / hate:hated detest:detested
    encourage:encouraged motivate:motivated | inspire:inspired / discourage:discouraged demoralise:demoralised
""")


class WinogradSchema(NamedTuple):
    """A sentence whose {x} is {a} if its {w} is one of `first`, and {b} if it is one of `second`."""

    text: str
    clause: str  # what is said of {x}, as a sentence of its own
    first: Words
    second: Words


def _schemas(text: str) -> tuple[WinogradSchema, ...]:
    """Read lines such as "the {a} broke the {b}, was so: heavy | massive / fragile | brittle"."""
    made = []
    for line in text.strip().splitlines():
        main, was, first, second = re.split(", (?=was)|: | / ", line.strip())
        frames = f"{main} because {{x}} {was} {{w}}", f"the {{x}} {was} {{w}}"
        made.append(WinogradSchema(*frames, words(first), words(second)))
    return tuple(made)


WINOGRAD_THINGS = _schemas("""
    the {a} did not fit into the {b}, was too: big large wide | bulky / small narrow tight | tiny
    the {a} broke the {b}, was so: heavy hard | massive / fragile delicate thin | brittle
    she swapped the {a} for the {b}, was: useless ugly broken | worthless / better useful pretty | superior
    the {a} was hidden under the {b}, was: secret stolen valuable | precious / large wide thick | enormous
""")
WINOGRAD_PEOPLE = _schemas("""
    the {a} could not see past the {b}, was so: short small | little / tall big broad | huge
    the {a} lent the {b} money, was: rich generous wealthy | kind / poor broke penniless | bankrupt
    the {a} overtook the {b}, was so: fast quick energetic | swift / slow tired weak | exhausted
    the {a} asked the {b} for advice, was: confused unsure lost | puzzled / wise experienced clever | knowledgeable
    the {a} ran away from the {b}, was so: afraid timid scared | frightened / cruel violent angry | brutal
    the {a} forgave the {b}, was: patient kind good-natured | merciful / sorry ashamed | apologetic
    the {a} carried the {b} home, was so: strong helpful | muscular / ill drunk tired | injured
    the {a} beat the {b} at chess, was so: clever skilled good | brilliant / careless bad distracted | hopeless
    the {a} envied the {b}, was so: jealous unhappy bitter | resentful / successful popular famous | celebrated
""")
