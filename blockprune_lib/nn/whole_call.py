"""A model from token numbers to last hidden states in one compiled call: its embeddings go in with its encoder.

`attach(model)` gives each model of a known family a `WholeCall` in place of its `forward`. Where the encoder's
compiled call can be made (`engine`), and nothing was changed about the embeddings, it makes it from the token numbers
themselves, and pools (`pooling`). Otherwise the forward of the model's own class runs, as it does once in any
case, to see what it returns. What Python and torch do around the layers of a small encoder takes as long as the layers
do, on a text of a dozen words; this saves about 40 % of that.

Under autocast to bfloat16, which accelerate leaves around a model that a Trainer trained so, the encoder is computed in
that, as `engine` says, and the embeddings in float32.

Left out: heads, which torch runs; models in another type than float32, or with embeddings that are projected to another
width.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ..pruning.families import TextPaths, text_paths
from ..pruning.passed_over import say
from .embedding_plan import EmbeddingPlan
from .encoder_call import from_tokens
from .encoder_plan import Unfit
from .engine import CompiledForward, asks_for_more, disturbed, names_of, replaced_line, shown_by
from .engine import attach as attach_encoders
from .pooling import pooled
from .replaced import replaced_forward
from .watched import Tree

_HARMLESS = frozenset({"input_ids", "attention_mask", "token_type_ids", "return_dict"})
_RESULTS = frozenset({"last_hidden_state", "pooler_output"})


def attach(model: nn.Module, precision: str = "float32") -> None:
    """Give encoders inside `model` a compiled forward (`engine.attach`), and models of known families a whole call."""
    attach_encoders(model, precision)
    for module in model.modules():
        paths = text_paths(module)
        if paths is None or not isinstance(_forward_of(module, paths), CompiledForward):
            continue
        if replaced_forward(module):
            say(model, replaced_line(module))
        else:
            module.forward = WholeCall(module)


def detach(model: nn.Module) -> None:
    """Give every model inside `model` the forward of its class back."""
    for module in model.modules():
        if isinstance(vars(module).get("forward"), WholeCall):
            del module.forward


def _forward_of(model: nn.Module, paths: TextPaths) -> Any:
    return vars(getattr(model, paths.encoder)).get("forward")


class WholeCall:
    """A model's `forward`: one compiled call where that can be made, else the forward of the model's own class.

    `last` is "compiled" after a compiled call, else the reason why there was none.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.last = model, "not called yet"
        self._paths: TextPaths | None = text_paths(model)
        self._tree = Tree(model)
        self._embeddings: EmbeddingPlan | None = None
        self._returns: tuple[Any, tuple[str, ...]] | None = None  # what the own forward returned, and its fields

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(type(self.model).forward.__get__(self.model))

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        """What the forward of the model's class returns."""
        own = type(self.model).forward
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return own(self.model, *arguments, **more)
        given = dict(zip(names_of(own), arguments, strict=False)) | more
        try:
            found = self._compiled(given)
        except Unfit as error:
            self.last = str(error)
            return own(self.model, *arguments, **more)
        if self._returns is None:
            result = own(self.model, *arguments, **more)
            self._returns = type(result), tuple(result) if isinstance(result, dict) else ()
        kind, names = self._returns
        if not names or not _RESULTS.issuperset(names):
            self.last = f"the model returns a {kind.__name__}"
            return own(self.model, *arguments, **more)
        self.last = "compiled"
        return kind(**{name: found[name] for name in names})

    def prepare(self, tokens: int) -> None:
        """Compile or load what a compiled call on so many tokens needs; nothing where it cannot be made."""
        with contextlib.suppress(Unfit):
            self._compiled({"input_ids": torch.zeros(1, tokens, dtype=torch.int64, device="cpu")})

    def _compiled(self, given: dict[str, Any]) -> dict[str, Any]:
        """The results by name. Raises Unfit saying why there are none."""
        model, ids, types = self.model, given.get("input_ids"), given.get("token_type_ids")
        if type(ids) is not Tensor or ids.ndim != 2 or not ids.numel() or ids.dtype not in (torch.int64, torch.int32):
            raise Unfit("the input is no tensor (batch, tokens) of whole numbers")
        if types is not None and (type(types) is not Tensor or types.shape != ids.shape or types.is_floating_point()):
            raise Unfit("token_type_ids is no tensor (batch, tokens) of whole numbers")
        if not ids.is_cpu or (types is not None and not types.is_cpu):
            raise Unfit("the input is not on the CPU")
        config = model.config
        as_tuple = given.get("return_dict") is False or (given.get("return_dict") is None and not config.return_dict)
        if as_tuple or config.output_hidden_states or config.output_attentions:
            raise Unfit("the model is asked for a tuple, hidden states or attentions")
        if getattr(config, "is_decoder", False):
            raise Unfit("the model is a decoder")
        assert self._paths is not None
        forward = _forward_of(model, self._paths)
        modules = self._tree.modules()
        why = asks_for_more(given, _HARMLESS) or disturbed(modules, model, False)
        if why or not isinstance(forward, CompiledForward):
            raise Unfit(why or "the encoder has no compiled forward")
        embeddings = self._embeddings
        if embeddings is None or not embeddings.holds(modules):
            self._embeddings = None  # what it holds, before there is more
            embeddings = self._embeddings = EmbeddingPlan.of(model, self._paths, modules)
        plan = forward.plan(torch.float32, forward.modules())
        if plan.dtype is not torch.float32 or plan.width != embeddings.width:
            raise Unfit("the encoder has another type or width than the embeddings")
        shown, why = shown_by(given.get("attention_mask"), ids.shape[0], ids.shape[1], plan)
        if shown is None:
            raise Unfit(why)
        tokens = embeddings.tokens(ids.numpy(), None if types is None else types.numpy(), shown)
        if tokens is None:
            raise Unfit("a number is beyond its table")
        states = from_tokens(plan, embeddings.tables, tokens, shown, torch.get_num_threads())
        forward.last = "compiled"
        pooler = getattr(model, "pooler", None)
        if pooler is not None:  # under autocast its type is autocast's
            pooler = pooler(states) if torch.is_autocast_enabled("cpu") else pooled(pooler, states)
        return {"last_hidden_state": states, "pooler_output": pooler}

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
