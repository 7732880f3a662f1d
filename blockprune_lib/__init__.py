"""Block-structured pruning with reweighted group Lasso, and layers that run what is left faster.

One idea carries everything: a `BlockStructure` tiles a weight matrix into groups of r x c. Penalty, selection, masks,
packing and kernels all speak of the same grid of groups. The rooms stand in the order of the book:

    machine       what machine is this, and how is it timed honestly
    pruning       which groups may vanish, which stay, how they are stored
    data          real weights, real text
    kernels       products with what is left
    nn            sparse layers inside a model
    training      fine-tune, reweight, prune, retrain
    bench         every off-the-shelf way to run the same model, timed beside ours
    experiments   a recipe in, a record with its provenance out
    teaching, widgets, cli      what pages call, explorers, the command

`__init__.pyi` lists the public names. They load when they are first used, so importing the package compiles nothing and
reaches no network.
"""

from ._common.faces import face
from ._common.moved import find_moved

__version__ = "0.1.0"
find_moved()
__getattr__, __dir__, __all__ = face(__name__, __file__)
