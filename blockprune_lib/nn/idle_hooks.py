"""Hooks that do nothing now: those by which transformers 5 records hidden states and attentions.

It puts them into a model at the first call that asks for either, and never takes them out. They read nothing and
change nothing while no call of it is recording, so they are no reason to leave the compiled call.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from torch import nn

_MODULE = "transformers.utils.output_capturing"
_NAME = "output_capturing_hook"


def all_idle(module: nn.Module) -> bool:
    """Whether every hook of `module` is transformers' own, and none of them records now.

    >>> layer = nn.Linear(2, 2)
    >>> handle = layer.register_forward_hook(lambda *_: None)
    >>> all_idle(layer)
    False
    """
    if module._forward_pre_hooks:
        return False
    for hook in module._forward_hooks.values():
        if getattr(hook, "__module__", "") != _MODULE or getattr(hook, "__name__", "") != _NAME:
            return False
    recorder = _recorder()
    return recorder is not None and not recorder.get()  # None outside of a call, empty in one that records nothing


@cache
def _recorder() -> Any:
    """What tells whether a call records; None where transformers has it no longer, or not yet."""
    try:
        return getattr(importlib.import_module(_MODULE), "_active_collector", None)
    except ImportError:
        return None
