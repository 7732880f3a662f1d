"""Signatures of the library's page, as they are written: the names of types, and the values of constants.

Sphinx's own spell a type such as ArrayLike out over five lines, and give up at a default that is an object.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin

#: Short for much that nobody wants to read.
KEPT = ("ArrayLike", "NDArray")
#: A constant whose value is longer than this stays a name.
LONGEST = 90


def written(thing: Any, method: bool = False) -> tuple[str, str] | None:
    """(arguments, what is returned, "" for nothing) of a function or a class; None where Sphinx's own will do.

    >>> written(inspect.unwrap)
    ('(func, *, stop=None)', '')
    """
    thing = getattr(thing, "fget", None) or thing
    if inspect.isclass(thing):
        made = vars(thing).get("__init__")
        if inspect.isfunction(made) and made.__code__.co_filename != "<string>":
            found = _of_function(made, True)
            return found and (found[0], "")
        fields = _fields(thing)
        return (f"({fields})", "") if fields else None
    target = inspect.unwrap(getattr(thing, "__func__", thing))
    return _of_function(target, method or inspect.ismethod(thing)) if inspect.isfunction(target) else None


def _of_function(function: Callable[..., Any], skip_first: bool) -> tuple[str, str] | None:
    node = _parsed(function)
    if not isinstance(node, ast.FunctionDef):
        return None
    given, told = node.args, function.__globals__
    first = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(first) - len(given.defaults)) + list(given.defaults)
    parts = [_one(argument, default, told) for argument, default in zip(first, defaults, strict=True)]
    parts = parts[1:] if skip_first else parts
    if given.vararg:
        parts.append("*" + _one(given.vararg, None, told))
    elif given.kwonlyargs:
        parts.append("*")
    parts += [_one(a, default, told) for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append("**" + _one(given.kwarg, None, told))
    returned = _type(node.returns, told) if node.returns else ""
    return f"({', '.join(parts)})", "" if returned == "None" else returned


def _fields(thing: type) -> str:
    """The fields of a dataclass or of settings, those of its bases first; private ones are nobody's to give."""
    found: dict[str, str] = {}
    names_only = False
    for home in reversed(thing.__mro__):
        if not home.__module__.startswith("blockprune_lib") or not (node := _parsed(home)):
            continue
        names_only |= hasattr(home, "model_fields") or "kw_only=True" in "".join(map(ast.unparse, node.decorator_list))
        told = vars(sys.modules[home.__module__])
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                name = line.target.id
                if not name.startswith("_") and "ClassVar" not in ast.unparse(line.annotation):
                    default = _field_default(line.value, told)
                    found[name] = f"{name}: {_type(line.annotation, told)}" + (f" = {default}" if default else "")
    return ", ".join((["*"] if names_only and found else []) + list(found.values()))


def _field_default(value: ast.expr | None, told: dict[str, Any]) -> str:
    if isinstance(value, ast.Call) and ast.unparse(value.func).rsplit(".", 1)[-1].lower() == "field":
        given = {word.arg: word.value for word in value.keywords}
        if "default" in given or value.args:
            return _default(given["default"] if "default" in given else value.args[0], told)
        made = ast.unparse(given["default_factory"]) if "default_factory" in given else ""
        return {"dict": "{}", "list": "[]", "": ""}.get(made, f"{made}()")
    return _default(value, told) if value is not None else ""


def _one(argument: ast.arg, default: ast.expr | None, told: dict[str, Any]) -> str:
    text = argument.arg + (f": {_type(argument.annotation, told)}" if argument.annotation else "")
    if default is None:
        return text
    return f"{text} = {_default(default, told)}" if argument.annotation else f"{text}={_default(default, told)}"


def _default(node: ast.expr, told: dict[str, Any]) -> str:
    """A default as it is written; of a constant its value, where that is short."""
    text = ast.unparse(node)
    if re.fullmatch(r"[\w.]*\b[A-Z][A-Z_0-9]+", text):
        home: Any = told
        for part in text.split("."):
            home = home[part] if isinstance(home, dict) else getattr(home, part)
        if len(repr(home)) <= LONGEST and not repr(home).startswith("<"):
            return repr(home)
    return text


def _type(node: ast.expr, told: dict[str, Any]) -> str:
    """A type by short names: no package before it, and no name that only this library knows."""
    return ast.unparse(_Short(told).visit(node))


class _Short(ast.NodeTransformer):
    """Types without their packages; of a name that stands for a type, such as Shape, what it stands for."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.Name(node.attr)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        stands_for = self._told.get(node.id)
        alias = get_origin(stands_for) or isinstance(stands_for, UnionType)
        spelled = _spelled(stands_for) if alias and node.id not in KEPT else node.id
        return ast.parse(spelled, mode="eval").body

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if ast.unparse(node.value).endswith("Annotated"):
            first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            return self.visit(first)
        return ast.Subscript(self.visit(node.value), self.visit(node.slice))


def _spelled(stands_for: Any) -> str:
    """A type as one writes it."""
    origin, given = get_origin(stands_for), get_args(stands_for)
    if stands_for is type(None):
        return "None"
    if isinstance(stands_for, ForwardRef):
        return stands_for.__forward_arg__
    if stands_for is Ellipsis:
        return "..."
    if isinstance(stands_for, list):
        return f"[{', '.join(map(_spelled, stands_for))}]"
    if origin is None:
        return getattr(stands_for, "__name__", str(stands_for))
    if origin is Annotated:
        return _spelled(given[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, given))}]"
    if origin in (Union, UnionType):
        return " | ".join(map(_spelled, given))
    return f"{origin.__name__}[{', '.join(map(_spelled, given))}]"


def _parsed(thing: Any) -> Any:
    """The definition in its file."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
