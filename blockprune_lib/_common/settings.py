"""Settings, recipes and records as models: what a field may hold is declared once, and an error says it in our words.

What follows a field's type (bounds, allowed words, an example) makes three things: the check, the sentence of an error
("batch_size must be a whole number of at least 1; got 0: 32 would do"), and the JSON schema.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping
from inspect import get_annotations, signature
from numbers import Real
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator


def _whole(value: Any) -> Any:
    """NumPy's and torch's integers as Python's; anything else, and bool, as it came."""
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


#: A whole number: int, and whatever counts as an index, such as numpy.int64; never bool.
Whole = Annotated[int, BeforeValidator(_whole)]
#: A whole number of 1 or more.
Positive = Annotated[int, Field(ge=1), BeforeValidator(_whole)]


def _number(value: Any, check: Callable[[Any], float]) -> float:
    """NumPy's numbers as Python's; an int stays one, so that a record says 3 where 3 was given."""
    given = float(value) if isinstance(value, Real) and not isinstance(value, int) else value
    checked = check(given)
    return given if type(given) is int else checked


#: A finite number: float, int, and NumPy's; never bool.
Number = Annotated[float, WrapValidator(_number)]


class Settings(BaseModel):
    """A frozen record whose fields are checked when it is made; unknown names are refused with a suggestion.

    Nothing is converted: text is no number, and True is none. Raises TypeError where a value has the wrong type and
    ValueError otherwise, naming the field, what would do and what was given.

    >>> from pydantic import Field
    >>> class Example(Settings):
    ...     rate: float = Field(ge=1, examples=[5.0])
    >>> Example(rate=0.5)
    Traceback (most recent call last):
    ValueError: rate must be a number of at least 1; got 0.5: 5.0 would do
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise in_words(error, type(self)) from None

    # Records inside a record are then checked by pydantic itself, and an error says the whole place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Let `help` show annotations as they are written, `seed: Whole = 42`, and not what checks them."""
        written = {name: text for base in reversed(cls.__mro__) for name, text in get_annotations(base).items()}
        shown = signature(cls)
        fields = [field.replace(annotation=written[field.name]) for field in shown.parameters.values()]
        cls.__signature__ = shown.replace(parameters=fields)

    @classmethod
    def of(cls, plain: Any, place: str = "") -> Self:
        """The record that a mapping describes, such as parsed JSON or YAML; errors begin with *place*."""
        try:
            if not isinstance(plain, Mapping):
                raise TypeError(f"{place or 'the settings'} must be keys and values; got {type(plain).__name__}")
            return cls(**{str(key): value for key, value in plain.items()})
        except (TypeError, ValueError) as error:
            said = str(error)
            raise type(error)(said if said.startswith(place) else f"{place}: {said}") from None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values; `of` makes the record of them again."""
        return self.model_dump()

    def replace(self, **changes: Any) -> Self:
        """The same record with some fields changed, checked anew."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)


def in_words(error: ValidationError, model: type[BaseModel]) -> TypeError | ValueError:
    """The first fault that pydantic found, as an error in the library's own words."""
    fault = error.errors(include_url=False)[0]
    place, value = fault["loc"], fault["input"]
    if fault["type"] == "extra_forbidden":
        where, schema = _field_at(model, place[:-1])
        return ValueError(unknown_name(str(place[-1]), list(schema.get("properties", {})), where))
    name, schema = _field_at(model, place)
    if fault["type"] == "missing":
        return ValueError(f"{name} is missing")
    if fault["type"] in ("value_error", "assertion_error"):
        said = str(fault["ctx"]["error"])
        return ValueError(f"{name}: {said}" if name and not said.startswith(name) else said)
    examples = schema.get("examples", [])
    remedy = f": {' or '.join(map(repr, examples))} would do" if examples else ""
    wrong_type = fault["type"].endswith("_type") or fault["type"] == "is_instance_of"
    said = f"{name} must be {wanted(schema)}; got {value!r:.200}{remedy}"
    return TypeError(said) if wrong_type else ValueError(said)


def unknown_name(name: str, known: list[str], where: str = "") -> str:
    """What is said of a name that nobody knows: where it stands, the nearest one, and all there are.

    >>> unknown_name("epoch", ["epochs", "seed"])
    "there is no 'epoch'; did you mean 'epochs'? (known: epochs, seed)"
    """
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{where + ': ' if where else ''}there is no {name!r}{hint} (known: {', '.join(known)})"


def wanted(schema: Mapping[str, Any]) -> str:
    """What a JSON schema asks of a value, in words.

    >>> wanted({"type": "integer", "minimum": 1}), wanted({"anyOf": [{"type": "boolean"}, {"type": "null"}]})
    ('a whole number of at least 1', 'True or False, or None')
    """
    if "anyOf" in schema:
        return ", or ".join(wanted(part) for part in schema["anyOf"])
    if "enum" in schema:
        return f"one of {', '.join(map(repr, schema['enum']))}"
    if "const" in schema:
        return repr(schema["const"])
    if "prefixItems" in schema and "description" in schema:
        return str(schema["description"])
    words = {
        "integer": "a whole number", "number": "a number", "boolean": "True or False", "string": "text",
        "null": "None", "array": "a list", "object": "keys and values",
    }.get(schema.get("type", ""), schema.get("description", "something else"))  # fmt: skip
    if schema.get("minItems") and schema.get("maxItems"):
        words += f" of {schema['minItems']} to {schema['maxItems']}"
    elif schema.get("minItems") or schema.get("minLength"):
        words += " that is not empty"
    if "pattern" in schema:
        words += f" that matches {schema['pattern']}"
    if "minimum" in schema and "maximum" in schema:
        return f"{words} from {schema['minimum']:.10g} to {schema['maximum']:.10g}"
    keys = {"minimum": "of at least", "exclusiveMinimum": "above", "maximum": "of at most", "exclusiveMaximum": "below"}
    bounds = [f"{word} {schema[key]:g}" for key, word in keys.items() if key in schema]
    return f"{words} {' and '.join(bounds)}".strip()


def _field_at(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[str, dict[str, Any]]:
    """The name of the field at *place*, such as "stages[0].seed", and the part of the JSON schema that describes it."""
    whole = model.model_json_schema()
    part, name = whole, ""
    for key in place:
        part = _resolved(part, whole)
        if isinstance(key, int):
            each = part["prefixItems"][key] if "prefixItems" in part else part.get("items", {})
            name, part = f"{name}[{key}]", each
        elif key in part.get("properties", {}):
            name, part = f"{name}.{key}", part["properties"][key]
        elif isinstance(part.get("additionalProperties"), dict):
            name, part = f"{name}.{key}", part["additionalProperties"]
        # Else it is pydantic's word for one branch of a union, which is no place.
    return name.removeprefix("."), _resolved(part, whole)


def _resolved(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    return part
