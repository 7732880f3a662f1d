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

Left out: the call itself (`encoder_call`) and how the kernels compute it (`kernels.encoder`); embeddings, which
`whole_call` takes in where it can; pooler and heads, which torch runs.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.dense_path import PACKED_TYPES
from ..pruning.families import LayerPaths, layer_paths, part_if_there, part_of
from ..pruning.passed_over import say
from .block_sparse_linear import BlockSparseLinear
from .encoder_call import from_states
from .encoder_plan import EncoderPlan, Unfit
from .idle_hooks import all_idle
from .replaced import replaced_forward
from .watched import Tree

#: Names of the mask, and of all arguments that ask for no other output.
_MASK = ("attention_mask", "attn_mask")
_HARMLESS = frozenset({*_MASK, "return_dict", "position_ids", "token_type_ids", "cache_position"})


def encoders_of(model: nn.Module) -> list[tuple[Any, LayerPaths]]:
    """Every encoder of a known family inside `model`, with the paths of its layers' parts."""
    return [(module, paths) for module in model.modules() if (paths := layer_paths(module)) is not None]


def attach(model: nn.Module, precision: str = "float32") -> None:
    """Give every encoder of a known family inside `model` that has block-sparse layers a compiled forward.

    One whose forward somebody set on it keeps that one.
    """
    for encoder, _ in encoders_of(model):
        if replaced_forward(encoder):
            say(model, replaced_line(encoder))
        elif any(isinstance(module, BlockSparseLinear) for module in encoder.modules()):
            encoder.forward = CompiledForward(encoder, precision)


def replaced_line(module: nn.Module) -> str:
    """What is said of a model or an encoder whose forward was replaced."""
    kind = type(module).__name__
    line = f"the forward of a {kind} was replaced, so it is called as it is, and not made one compiled call"
    if "_original_forward" in vars(module):  # where accelerate put autocast around it
        line += ": accelerate.utils.extract_model_from_parallel(model, keep_fp32_wrapper=False) first would do"
    return line


def heed_activations(encoder: Any) -> None:
    """Let a layer stop doing the GELU that it took over where another activation was put in that one's place since."""
    if (paths := layer_paths(encoder)) is not None:
        for layer in part_of(encoder, paths.layers):
            inner, follows = part_if_there(layer, paths.inner), part_if_there(layer, paths.activation)
            if isinstance(inner, BlockSparseLinear) and not isinstance(follows, nn.Identity):
                inner.activation = None


class CompiledForward:
    """An encoder's `forward`: the compiled call where it can be made, else the forward of the encoder's own class."""

    def __init__(self, encoder: Any, precision: str = "float32") -> None:
        self.encoder, self.precision, self.last = encoder, precision, "not called yet"
        self._plans: dict[str, EncoderPlan] = {}
        self._tree = Tree(encoder)
        self._heeded: tuple[nn.Module, ...] = ()  # the modules whose activations were looked at
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        """What the forward of the encoder's class returns; `last` then says how it was computed."""
        own = type(self.encoder).forward
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return own(self.encoder, *arguments, **more)
        self.modules()  # where it has others, activations are looked at again, for the layers too
        first = names_of(own)[0]
        given = dict(zip(names_of(own), arguments, strict=False)) | more
        found, self.last = self.compiled(given.pop(first, None), given)
        if found is None:
            return own(self.encoder, *arguments, **more)
        result, plan = found
        return own(plan.hollow, result, **given)

    def compiled(self, hidden: Any, given: dict[str, Any]) -> tuple[tuple[Tensor, EncoderPlan] | None, str]:
        """((last hidden states, the plan that was run), "compiled"), or (None, why not)."""
        if type(hidden) is not Tensor or hidden.ndim != 3 or hidden.dtype not in PACKED_TYPES or not hidden.is_cpu:
            return None, "the input is no tensor (batch, tokens, features) of float32, bfloat16 or float16 on the CPU"
        if not hidden.shape[1]:
            return None, "the input has no tokens"
        modules = self.modules()
        why = asks_for_more(given, _HARMLESS) or disturbed(modules, self.encoder, hidden.requires_grad)
        try:
            plan = None if why else self.plan(hidden.dtype, modules)
        except Unfit as error:
            why = str(error)
        if why or plan is None:
            return None, why
        if hidden.dtype is not plan.dtype:
            return None, f"the input is {hidden.dtype}, the weights are {plan.dtype}"
        mask = next((given[name] for name in _MASK if name in given), None)
        shown, why = shown_by(mask, hidden.shape[0], hidden.shape[1], plan)
        if shown is None:
            return None, why
        return (from_states(plan, hidden, shown, torch.get_num_threads()), plan), "compiled"

    def modules(self) -> tuple[nn.Module, ...]:
        """All modules of the encoder, as a tuple that stays the same object as long as they do."""
        modules = self._tree.modules()
        if modules is not self._heeded:
            heed_activations(self.encoder)
            self._heeded = modules
        return modules

    def plan(self, dtype: torch.dtype, modules: tuple[nn.Module, ...]) -> EncoderPlan:
        """The plan for an input of this type, made anew where one of `modules`, or a weight, has changed.

        In bfloat16 where the caller has that, and this machine and model can. Raises Unfit.
        """
        asked = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else dtype
        if asked is torch.bfloat16 and self.precision != "bfloat16":
            with contextlib.suppress(Unfit):
                return self._plan_in("bfloat16", modules)
        return self._plan_in(self.precision, modules)

    def _plan_in(self, precision: str, modules: tuple[nn.Module, ...]) -> EncoderPlan:
        with self._lock:
            plan = self._plans.get(precision)
            if plan is None or not plan.holds(modules):
                self._plans.pop(precision, None)  # its memory, before there is more
                plan = self._plans[precision] = EncoderPlan.of(self.encoder, precision)
            return plan

    def __getstate__(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "precision": self.precision}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


@cache
def names_of(forward: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a forward's arguments except self: they differ between families and versions of transformers."""
    return tuple(inspect.signature(forward).parameters)[1:]


def asks_for_more(given: dict[str, Any], harmless: frozenset[str]) -> str:
    """What arguments ask for besides `harmless` ones, as the reason not to make the call; empty if nothing."""
    asked = [name for name, value in given.items() if name not in harmless and not _nothing(value)]
    return f"asked for {', '.join(asked)}" if asked else ""


def disturbed(modules: tuple[nn.Module, ...], owner: nn.Module, differentiated: bool) -> str:
    """Why `modules`, all of `owner`, must be called one by one now; empty if they need not.

    `differentiated`: whether a gradient of the input is asked for.
    """
    if torch._C._functorch.maybe_current_level() is not None or torch._C._len_torch_dispatch_stack():
        return "a transform or a mode of torch is at work"
    if torch.nn.modules.module._global_forward_hooks or torch.nn.modules.module._global_forward_pre_hooks:
        return "every module has hooks"
    gradients = torch.is_grad_enabled()
    if gradients and differentiated:
        return "gradients are asked for"
    for module in modules:  # a loop, as it is run at every call
        if (module._forward_hooks or module._forward_pre_hooks) and not all_idle(module):
            return "an inner module has hooks"
        forward = module.__dict__.get("forward")
        if forward is not None and module is not owner and not isinstance(forward, CompiledForward):
            return f"the forward of a {type(module).__name__} was replaced"
        if module.training and (module is owner or isinstance(module, nn.Dropout)):
            return "the model is in training mode"
        if gradients and any(
            parameter.requires_grad for parameter in module._parameters.values() if parameter is not None
        ):
            return "gradients are asked for: torch.inference_mode() or torch.no_grad() would do"
    return ""


def shown_by(mask: Any, batch: int, tokens: int, plan: EncoderPlan) -> tuple[np.ndarray | None, str]:
    """(which tokens a mask shows, bool (batch, tokens), ""), or (None, why the call cannot be made with that mask)."""
    shown = visible(mask, batch, tokens)
    if shown is None:
        return None, "the mask is not one of padding"
    if not shown[:, 0].all():
        return None, "the mask hides the first token of a text: tokenizer.padding_side = 'right' would do"
    if plan.position is not None and mask is not None and mask.ndim == 4 and not mask.is_floating_point():
        return None, "the mask is no float, and the model adds it to its scores"
    if plan.position is not None and not _one_run(shown):
        return None, "the mask has holes, and the model has relative positions"
    return shown, ""


def _nothing(value: Any) -> bool:
    """Whether an argument asks for nothing: None, False, or a list of such, as a head mask for each layer may be."""
    return value is None or value is False or (isinstance(value, list | tuple) and all(map(_nothing, value)))


def visible(mask: Any, batch: int, tokens: int) -> np.ndarray | None:
    """Which tokens a padding mask leaves visible: bool (batch, tokens); None for any other kind of mask.

    `mask`: None; (batch, tokens) of 0 and 1; or (batch or 1, 1, queries or 1, tokens), bool or added to the scores.

    >>> visible(torch.tensor([[1, 1, 0]]), 1, 3).tolist()
    [[True, True, False]]
    """
    if mask is None:
        return np.ones((batch, tokens), np.bool_)
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 4) or mask.shape[-1] != tokens or not mask.is_cpu:
        return None
    additive, wide = mask.ndim == 4 and mask.is_floating_point(), mask.ndim == 4
    if wide:
        if mask.shape[1] != 1 or (mask.stride(2) != 0 and not bool((mask == mask[:, :, :1]).all())):
            return None
        mask = mask[:, 0, 0]
    numbers = (mask.float() if mask.is_floating_point() else mask).detach().numpy()  # bfloat16 is not NumPy's
    if additive:
        if not ((numbers == 0) | (numbers < -1e4)).all():
            return None
        shown = numbers == 0
    else:
        shown = numbers != 0
        if numbers.dtype != np.bool_ and not (shown == numbers).all():
            return None
    return np.broadcast_to(shown, (batch, tokens)) if len(shown) in ((1, batch) if wide else (batch,)) else None


def _one_run(shown: np.ndarray) -> bool:
    """Whether the visible tokens of each sequence are neighbours."""
    begins = np.maximum(np.diff(shown.astype(np.int8), axis=1), 0).sum(1) + shown[:, 0]
    return bool((begins <= 1).all())
