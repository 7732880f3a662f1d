"""LoRA by PEFT on block-sparse layers: the adapter is trained beside the stored groups, which stay as they are.

PEFT knows a layer by its class and refuses one that it does not know. Where it has been imported before a sparse layer
is made, its LoRA takes these layers too. An adapter is never merged into one: it would have to be dense.
"""

from __future__ import annotations

import functools
import sys
import warnings
from typing import Any

from torch import nn

#: Other ways to begin change the layer's own weight.
BEGINNINGS = (True, False, "gaussian", "orthogonal")


def let_peft_adapt(layer: type[nn.Module]) -> None:
    """Make LoRA of PEFT take modules of the type `layer`."""
    model: Any = getattr(sys.modules.get("peft.tuners.lora.model"), "LoraModel", None)
    if model is None or hasattr(model._create_new_module, "of_block_sparse"):
        return
    own, adapter = model._create_new_module, _adapter(layer)

    @functools.wraps(own)
    def create(lora_config: Any, adapter_name: str, target: Any, **more: Any) -> Any:
        base = getattr(target, "base_layer", target)
        if not isinstance(base, layer):
            return own(lora_config, adapter_name, target, **more)
        if getattr(base, "activation", None):
            raise ValueError(
                f"target_modules names a {layer.__name__} that applies its {base.activation} itself, before which an "
                "adapter would have to stand: leave that layer out, or sparsify(..., fuse=False) would do"
            )
        if lora_config.init_lora_weights not in BEGINNINGS:
            raise ValueError(
                f"init_lora_weights must be one of {', '.join(map(repr, BEGINNINGS))} on a {layer.__name__}; got "
                f"{lora_config.init_lora_weights!r}, which changes the layer's own weight"
            )
        lora_config._register_custom_module({layer: adapter})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)  # of PEFT, where sizes are asked
            return own(lora_config, adapter_name, target, **more)

    create.of_block_sparse = layer  # type: ignore[attr-defined]
    model._create_new_module = staticmethod(create)


def _adapter(layer: type[nn.Module]) -> type[nn.Module]:
    from peft.tuners.lora.layer import Linear

    class BlockSparseLoraLinear(Linear):  # type: ignore[misc, valid-type]
        def merge(self, *_: Any, **__: Any) -> None:
            raise ValueError(
                f"an adapter cannot be merged into a {layer.__name__}, whose pruned weights would come back: keep it "
                "beside the layer; or blockprune_lib.densify the model before PEFT adapts it"
            )

    return BlockSparseLoraLinear
