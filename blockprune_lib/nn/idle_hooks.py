"""Hooks that do nothing now, so that they are no reason to leave the compiled call: two of transformers 5 itself.

By one it records hidden states and attentions: it puts that into a model at the first call that asks for either, and
never takes it out. By the other, which stays after a training with gradient checkpointing, the word embeddings' output
asks for gradients: without gradients that means nothing.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch
from torch import nn

#: (module, name) of the two.
_RECORDS = ("transformers.utils.output_capturing", "output_capturing_hook")
_ASKS_FOR_GRADIENTS = ("transformers.modeling_utils", "make_inputs_require_grads")


def all_idle(module: nn.Module) -> bool:
    """Whether every hook of `module` is transformers' own, and none of them records now, or asks for gradients.

    >>> layer = nn.Linear(2, 2)
    >>> handle = layer.register_forward_hook(lambda *_: None)
    >>> all_idle(layer)
    False
    """
    if module._forward_pre_hooks:
        return False
    for hook in module._forward_hooks.values():
        origin = getattr(hook, "__module__", ""), getattr(hook, "__name__", "")
        if origin == _RECORDS:
            recorder = _recorder()
            if recorder is None or recorder.get():  # empty in a call that records nothing
                return False
        elif origin != _ASKS_FOR_GRADIENTS or torch.is_grad_enabled():
            return False
    return True


@cache
def _recorder() -> Any:
    """What tells whether a call records; None where transformers has it no longer, or not yet."""
    try:
        return getattr(importlib.import_module(_RECORDS[0]), "_active_collector", None)
    except ImportError:
        return None
