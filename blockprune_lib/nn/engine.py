"""A whole encoder run by one compiled call where that gives the same result, and layer by layer where it would not.

`attach(model)` gives each encoder of a known family a `CompiledForward` in place of its `forward`. At every call it
checks whether the compiled call can be made: evaluation mode, no gradients, one float type that has a kernel, on the
CPU, a mask of padding behind the text, no hooks on inner modules, no output requested that only the layers can give
(attentions, hidden states, a cache). `CompiledForward.last` is "compiled" after a compiled call, else the reason why
there was none.

A model in bfloat16, or under autocast to it, runs in that precision where the machine has it, else, like one in
float16, in float32; what comes out has the type of what went in.

The compiled call skips padding: a token that the mask hides is not computed, and its row of the result is zero, where
the layers give numbers without a meaning. What reads only visible tokens sees no difference; a mean over all positions
does. Since heads read the first token, a batch in which the mask hides one goes through the layers: padding on the
left, and rows that are hidden throughout.

Left out: how the kernels compute it (`kernels.encoder`); embeddings, pooler and heads, which torch runs.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels.dense_path import PACKED_TYPES
from ..pruning.architectures import LayerPaths, layer_paths, part_of
from .block_sparse_linear import BlockSparseLinear
from .encoder_plan import EncoderPlan, Unfit

#: Names of the mask, and of all arguments that ask for no other output.
_MASK = ("attention_mask", "attn_mask")
_HARMLESS = {*_MASK, "return_dict", "position_ids", "token_type_ids", "cache_position"}


def encoders_of(model: nn.Module) -> list[tuple[Any, LayerPaths]]:
    """Every encoder of a known family inside `model`, with the paths of its layers' parts."""
    return [(module, paths) for module in model.modules() if (paths := layer_paths(module)) is not None]


def attach(model: nn.Module, precision: str = "float32") -> None:
    """Give every encoder of a known family inside `model` that has block-sparse layers a compiled forward."""
    for encoder, _ in encoders_of(model):
        if any(isinstance(module, BlockSparseLinear) for module in encoder.modules()):
            encoder.forward = CompiledForward(encoder, precision)


def heed_activations(encoder: Any) -> list[tuple[dict[str, Any], str, Any]]:
    """Let a layer stop doing the GELU that it took over where another activation was put in that one's place since.

    Returns (the modules of its parent, its name there, the module) of each activation that a layer still does.
    """
    taken: list[tuple[dict[str, Any], str, Any]] = []
    if (paths := layer_paths(encoder)) is None:
        return taken
    for layer in part_of(encoder, paths.layers):
        inner, follows = part_of(layer, paths.inner), part_of(layer, paths.activation)
        if isinstance(inner, BlockSparseLinear) and inner.activation is not None:
            parent, _, name = paths.activation.rpartition(".")
            if isinstance(follows, nn.Identity):
                taken.append((layer.get_submodule(parent)._modules, name, follows))
            else:
                inner.activation = None
    return taken


class CompiledForward:
    """An encoder's `forward`: the compiled call where it can be made, else the forward of the encoder's own class."""

    def __init__(self, encoder: Any, precision: str = "float32") -> None:
        self.encoder, self.precision, self.last = encoder, precision, "not called yet"
        self._plans: dict[str, EncoderPlan] = {}
        self._taken: list[tuple[dict[str, Any], str, Any]] | None = None  # where an activation stood that a layer does
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        """What the forward of the encoder's class returns; `last` then says how it was computed."""
        own = type(self.encoder).forward
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return own(self.encoder, *arguments, **more)
        if self._taken is None or any(holder.get(name) is not module for holder, name, module in self._taken):
            self._taken = heed_activations(self.encoder)
        first, *names = _names(own)
        given = dict(zip((first, *names), arguments, strict=False)) | more
        found, self.last = self.compiled(given.pop(first, None), given)
        if found is None:
            return own(self.encoder, *arguments, **more)
        result, plan = found
        return own(plan.hollow, result, **given)

    def compiled(self, hidden: Any, given: dict[str, Any]) -> tuple[tuple[Tensor, EncoderPlan] | None, str]:
        """((last hidden states, the plan that was run), "compiled"), or (None, why not)."""
        if why := _why_not(self.encoder, hidden, given):
            return None, why
        try:
            plan = self._plan_for(hidden.dtype)
        except Unfit as error:
            return None, str(error)
        if hidden.dtype is not plan.dtype:
            return None, f"the input is {hidden.dtype}, the weights are {plan.dtype}"
        mask = next((given[name] for name in _MASK if name in given), None)
        shown = visible(mask, hidden.shape[0], hidden.shape[1])
        if shown is None:
            return None, "the mask is not one of padding"
        if not bool(shown[:, 0].all()):
            return None, "the mask hides the first token of a text: tokenizer.padding_side = 'right' would do"
        if plan.position is not None and not _one_run(shown):
            return None, "the mask has holes, and the model has relative positions"
        return (plan.run(hidden, shown, torch.get_num_threads()), plan), "compiled"

    def _plan_for(self, dtype: torch.dtype) -> EncoderPlan:
        """The plan for an input of this type: in bfloat16 where the caller has that, and this machine and model can."""
        asked = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else dtype
        if asked is torch.bfloat16 and self.precision != "bfloat16":
            with contextlib.suppress(Unfit):
                return self._plan_in("bfloat16")
        return self._plan_in(self.precision)

    def _plan_in(self, precision: str) -> EncoderPlan:
        with self._lock:
            plan = self._plans.get(precision)
            if plan is None or not plan.holds():
                self._plans.pop(precision, None)  # its memory, before there is more
                plan = self._plans[precision] = EncoderPlan.of(self.encoder, precision)
            return plan

    def __getstate__(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "precision": self.precision}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


@cache
def _names(forward: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a forward's arguments except self: they differ between families and versions of transformers."""
    return tuple(inspect.signature(forward).parameters)[1:]


def _why_not(encoder: nn.Module, hidden: Any, given: dict[str, Any]) -> str:
    """Why this call must go through the layers one by one; empty if it need not."""
    if type(hidden) is not Tensor or hidden.ndim != 3 or hidden.dtype not in PACKED_TYPES or not hidden.is_cpu:
        return "the input is no tensor (batch, tokens, features) of float32, bfloat16 or float16 on the CPU"
    if not hidden.shape[1]:
        return "the input has no tokens"
    if torch._C._functorch.maybe_current_level() is not None or torch._C._len_torch_dispatch_stack():
        return "a transform or a mode of torch is at work"
    if asked := [name for name, value in given.items() if name not in _HARMLESS and not _nothing(value)]:
        return f"asked for {', '.join(asked)}"
    if torch.nn.modules.module._global_forward_hooks or torch.nn.modules.module._global_forward_pre_hooks:
        return "every module has hooks"
    gradients = torch.is_grad_enabled()
    if gradients and hidden.requires_grad:
        return "gradients are asked for"
    for module in encoder.modules():
        if module.training and (module is encoder or isinstance(module, nn.Dropout)):
            return "the model is in training mode"
        if module._forward_hooks or module._forward_pre_hooks:
            return "an inner module has hooks"
        if gradients and any(
            parameter.requires_grad for parameter in module._parameters.values() if parameter is not None
        ):
            return "gradients are asked for: torch.inference_mode() or torch.no_grad() would do"
    return ""


def _nothing(value: Any) -> bool:
    """Whether an argument asks for nothing: None, False, or a list of such, as a head mask for each layer may be."""
    return value is None or value is False or (isinstance(value, list | tuple) and all(map(_nothing, value)))


def visible(mask: Any, batch: int, tokens: int) -> Tensor | None:
    """Which tokens a padding mask leaves visible: bool (batch, tokens); None for any other kind of mask.

    `mask`: None; (batch, tokens) of 0 and 1; or (batch or 1, 1, queries or 1, tokens), bool or added to the scores.

    >>> visible(torch.tensor([[1, 1, 0]]), 1, 3)
    tensor([[ True,  True, False]])
    """
    if mask is None:
        return torch.ones(batch, tokens, dtype=torch.bool, device="cpu")
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 4) or mask.shape[-1] != tokens:
        return None
    additive = mask.ndim == 4 and mask.is_floating_point()
    if mask.ndim == 4:
        if mask.shape[1] != 1 or (mask.stride(2) != 0 and not bool((mask == mask[:, :, :1]).all())):
            return None
        mask = mask[:, 0, 0]
    if additive:
        if not bool(((mask == 0) | (mask < -1e4)).all()):
            return None
        mask = mask == 0
    elif mask.dtype != torch.bool:
        if not bool(((mask == 0) | (mask == 1)).all()):
            return None
        mask = mask != 0
    return mask.expand(batch, tokens) if mask.shape[0] in (1, batch) else None


def _one_run(shown: Tensor) -> bool:
    """Whether the visible tokens of each sequence are neighbours."""
    return bool((shown.int().diff(dim=1).clamp(min=0).sum(1) + shown[:, 0] <= 1).all())
