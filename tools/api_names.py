"""What book/api.md says of its own: how it begins, and the common names by what they are for, a call of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

HEAD = """\
# The library

Everything begins with `import blockprune_lib as bp`. The names that most readers need are in `bp` itself; each is also
in the package that defines it, where it is described: `bp.select` is `bp.pruning.select`. What a stage of an experiment
takes, with its defaults, is in {doc}`settings`. The method has four stages ({doc}`Prune and retrain
<prune-and-retrain>`): fine-tune, train with the penalty, prune, retrain. Here is the short form, without the penalty:

```python
import blockprune_lib as bp

# GLUE where it can be had,
# else sentences from a generator
task = bp.tasks.load("sst2", train=640, validation=200)
model, tokenizer = bp.models.load("minilm", task=task)
quick = bp.TrainingSettings(max_steps=40, learning_rate=3e-4)
bp.fine_tune(model, tokenizer, task, quick)

# groups of 4 rows x 1 column; one in three stays
groups = bp.BlockStructure.block_column(4)
masks = bp.prune(model, groups, rate=3.0)
bp.retrain(model, tokenizer, task, masks, quick)
print(bp.evaluate(model, tokenizer, task))

# stored and multiplied as blocks; rates and bytes
bp.sparsify(model, groups)
print(bp.compression(model))

# bp.load("pruned") reads it
bp.save(model, "pruned", tokenizer)
```

It runs for one to a few minutes. On sentences of SST-2 it printed an accuracy of 0.685 (80 steps of training are
few), a rate of 3.00 for the pruned matrices and of 1.45 for all parameters, and 66 MB in place of 91.
`bp.tasks` and `bp.models` are described under {doc}`bp.data <api/data>`, as `bp.sentences` and `bp.metrics` are, and
`bp.chapter`, which the book's pages use, under {doc}`bp.teaching <api/teaching>`.

For one job, a few lines are often enough. These go on from the model, the groups and the task above:

```python
import copy, torch

# What the lines below begin with: a layer, a dense
# model, and what the tokenizer makes of two texts
linear = torch.nn.Linear(384, 1536)
dense, tokenizer = bp.models.load("minilm", task=task)
dense.eval()
texts = ["a fine film", "not once does it come to life"]
batch = tokenizer(texts, padding=True, return_tensors="pt")

# One layer: keep a quarter of its groups
bp.prune(linear, groups, rate=4.0)
layer = bp.BlockSparseLinear.from_linear(linear, groups)

# A whole model, cut at once; `dense` stays dense
cut = copy.deepcopy(dense)
bp.prune(cut, groups, rate=4.0)
bp.sparsify(cut, groups)

# Time it, in turns with the dense one
calls = {
    "dense": lambda: dense(**batch),
    "blocks": lambda: cut(**batch),
}
with torch.inference_mode():
    timed = bp.compare(calls)
print(timed)

# Save a layer of your own model; for a whole one,
# bp.save. Any layer of that shape takes it
torch.save(layer.state_dict(), "layer.pt")
layer.load_state_dict(torch.load("layer.pt"))

# Meet a budget of time for a call on `batch`, here
# midway from the least that is possible to dense.
# Structures and rates are chosen for `dense`, and a
# copy is cut by them. Retrain it, then sparsify it
costs = bp.nn.layer_costs(dense, example=batch)
ms = (costs.least_ms + costs.dense_ms) / 2
chosen = bp.budget(dense, ms, inputs=[batch], costs=costs)
fitted = copy.deepcopy(dense)
bp.apply_masks_(fitted, chosen.masks)
bp.sparsify(fitted, chosen.structures)

# Export to ONNX (`pip install onnxscript`), with the
# zeros in it: products there cannot leave them out
plain = bp.densify(copy.deepcopy(cut))
ids = (batch["input_ids"], batch["attention_mask"])
torch.onnx.export(plain, ids, "model.onnx", dynamo=True)
```

In what follows a weight has shape (M, N): outputs, inputs. (R, C) is the grid of its groups, `structure.grid(shape)`, T
counts tokens, and {key: value} describes a dict. A structure is a `BlockStructure`; its name as text is taken only
where the signature has `str`. A name that ends in an underscore changes what it is given. An error says what was
expected, what was given, and a value that would be accepted."""
#: {heading: {call: what it does}}; a call begins with the name, and its arguments are some of those that it takes.
COMMON: Mapping[str, Mapping[str, str]] = {
    "Groups and masks": {
        "BlockStructure.parse(text)": "a shape of groups, such as `\"block_column:4\"` or `\"tile:32x32\"`",
        "prunable(model)": "the layers of a model whose weights will be cut",
        "group_norms(weight, structure)": r"the norm $\lVert W_g \rVert$ of each group: what the penalty sums",
        "group_scores(weight, structure)": "the root mean square of each group: what selection ranks by",
        "select(scores, rate)": "which groups of one matrix stay: the largest",
        "expand(keep, structure, shape)": "that choice as a mask of the weight's shape",
        "select_model(model, structure, rate)": "masks for all prunable matrices; the model stays as it is",
        "apply_masks_(model, masks)": "set to 0 what the masks cut",
    },
    "Penalty": {
        "ReweightedGroupLasso(model, structure, lam)": r"the penalty $\sum_g \lambda\, \alpha_g \lVert W_g \rVert$, "
        r"with $\alpha_g = 1 / (\lVert W_g \rVert + \varepsilon)$ after each refresh",
        "group_soft_threshold(weight, structure, threshold)": "shrink each group's norm by the threshold, to 0 where "
        "it is less: the proximal step of group Lasso",
    },
    "Training": {
        "TrainingSettings(learning_rate, epochs)": "how one stage is trained",
        "fine_tune(model, tokenizer, data)": "stage 1: learn the task",
        "train_reweighted(model, tokenizer, data, structure, lam)": "stage 2: learn on with the penalty",
        "prune(model, structure, rate)": "stage 3: zero all but the best groups, and return the masks",
        "retrain(model, tokenizer, data, masks)": "stage 4: learn with what is left; the zeros stay",
        "prune_gradually(model, tokenizer, data, structure, rate)": "stages 3 and 4 at once, little by little",
        "evaluate(model, tokenizer, data)": "the scores on the validation rows",
        "MaskCallback(model, masks)": "keeps the zeros in a `transformers.Trainer` of your own",
    },
    "Storing and running": {
        "sparsify(model, structure, precision)": "layers that store and multiply only what is left",
        "densify(model)": "ordinary layers again, with the zeros in them",
        "save(model, folder, tokenizer)": "weights, configuration and tokenizer, as safetensors and JSON",
        "load(folder)": "the model that `save` wrote",
        "warm_up(model)": "compile or load the kernels now, so that the first request does not wait",
        "BlockSparseLinear.from_linear(linear, structure)": "one such layer, of an `nn.Linear`",
        "pack(weight, structure)": "the groups of one matrix that are not all zero, as a `PackedMatrix`",
        "PackedMatrix.to_dense()": "the matrix again, to the last bit",
        "linear(x, packed, bias)": "the product with a packed matrix, like `torch.nn.functional.linear`",
    },
    "Measuring": {
        "hardware()": "this machine: processor, measured peak and bandwidth, versions",
        "compare(functions)": "functions timed in turns: medians, quartiles, ratios with intervals",
        "threads(number)": "a `with` block in which torch, Numba and NumPy use so many threads",
        "compression(model)": "how much smaller a model is: rates and bytes, indices included",
        "break_even_density(structure, shape)": "the kept share from which on the pruned product is no longer faster",
        "budget(model, ms, inputs)": "a structure and a rate for each matrix, so that a call takes `ms` milliseconds "
        "and the outputs change least",
    },
    "Exercises of the book": {
        "check(name, answer)": "whether your answer to an exercise is right, and if not, which property fails",
    },
}  # fmt: skip


def name_of(call: str) -> str:
    """The name in `bp` that a call is of.

    >>> name_of("BlockStructure.parse(text)")
    'BlockStructure'
    """
    return call.partition("(")[0].partition(".")[0]


def tables(homes: Mapping[str, str]) -> Iterator[str]:
    """For each heading a table whose calls lead to where they are described; `homes` {name: package}."""
    for heading, calls in COMMON.items():
        lines = [f"### {heading}", "", "| call | what it does or gives |", "|---|---|"]
        for call, told in calls.items():
            whole = call.partition("(")[0]
            lines.append(f"| {{py:obj}}`{call} <blockprune_lib.{homes[name_of(call)]}.{whole}>` | {told} |")
        yield "\n".join(lines)
