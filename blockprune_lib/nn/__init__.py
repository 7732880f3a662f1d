"""Floor 3: layers that store and run what pruning left, inside a model.

    block_sparse_linear   the layer
    convert               `sparsify`: every pruned Linear of a model becomes one, and does the GELU that follows it
    places                where a layer stands: one module in several places, one weight in several modules
    plain_model           `densify`, the way back
    engine                a whole encoder as one compiled call, where that gives the same result
    whole_call            a model's embeddings and its encoder as one compiled call, from token numbers on
    encoder_plan          its layers as records that the call reads; embedding_plan: a model's embeddings
    idle_hooks            hooks that transformers left in a model, and that do nothing now
    watched               whether modules and tensors are what they were
    encoder_call          the call itself; pooling: the pooler after it
    first_call            `warm_up`: compile or load what a first call needs, before it
    trial                 a pruned copy of a model, for a choice of structure and rate a matrix
    cost_table            what a matrix costs inside a call, under every structure and rate, measured here
    latency_budget        `budget`: prune to so many ms a call
    break_even            how dense a layer may be and still gain
    model_size            how much smaller a model is, by each definition
    storage               save a model and load it again: safetensors, no pickle; `model_files` says what is in a folder
    adapters              LoRA by PEFT on sparse layers
    saved_by_transformers what a Trainer, `push_to_hub` and others keep, so that it is never read as a dense model

The chapter *The whole model* is about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
