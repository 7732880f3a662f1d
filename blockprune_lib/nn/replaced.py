"""Modules inside an encoder that are no longer what transformers put there: wrapped, of a class of one's own, patched.

A compiled call computes what the family's classes compute. A wrapper around a layer, a subclass with a forward of its
own or a forward that was set on one module (accelerate's hooks do that) is run by the layers, never passed over.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

_KNOWN = frozenset({"torch", "transformers", __name__.split(".")[0]})


def replaced(modules: Iterable[nn.Module]) -> str:
    """What the first of `modules` with a class from elsewhere is, in a few words; "" if there is none.

    >>> replaced([nn.Linear(2, 2), nn.LayerNorm(2)])
    ''
    >>> replaced([type("Mine", (nn.LayerNorm,), {"__module__": "mine"})(2)])
    'Mine, whose class is of mine'
    """
    for module in modules:
        kind = type(module)
        if kind.__module__.partition(".")[0] not in _KNOWN:
            return f"{kind.__name__}, whose class is of {kind.__module__}"
    return ""


def replaced_forward(module: nn.Module) -> bool:
    """Whether a module has a forward of its own, set on it, that is not its class's nor one of this library.

    >>> layer = nn.Linear(2, 2)
    >>> layer.forward = layer.forward  # as accelerate leaves it
    >>> replaced_forward(layer)
    False
    """
    forward = vars(module).get("forward")
    bound = getattr(forward, "__func__", None), getattr(forward, "__self__", None)
    if forward is None or (bound[0] is type(module).forward and bound[1] is module):
        return False
    return type(forward).__module__.partition(".")[0] != __name__.split(".")[0]
