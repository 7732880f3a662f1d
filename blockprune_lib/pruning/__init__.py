"""The ground floor: one idea of a block, and all that pruning does with it.

    structure       a tiling of a matrix into groups of r x c: the one notion of a block
    groups          the norm of each group, its gradient, its score, its proximal step
    architectures   the register of model families: which matrices are pruned, and whatever else differs
    part_names      in models of no such family: what is a head, a pooler, an embedding, by its name and place
    passed_over     matrices that cannot be pruned, and what to do about it
    lasso           the penalty that makes whole groups vanish
    zero_target     its step with a strength that follows a share of groups at zero
    selection       which groups stay                                      masks: what holds them while a model trains
    packing         what is left, stored

The chapters *Blocks*, *Group Lasso* and *Reweighting* are about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
