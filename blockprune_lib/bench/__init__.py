"""Floor 4: block-sparse layers beside every off-the-shelf way to run the same pruned matrix, on this machine.

    settings          what to measure, checked
    workload          the models and what they are fed
    runtimes          an engine, and how ONNX Runtime, OpenVINO and torch.compile become one
    formats           CSR and BSR as torch and SciPy have them
    case              what is kept of each case            tables: how it prints
    records           the JSON record                      plots: as a picture
    measuring         check the answers, then time in turns with the machine's peak
    matrix            the benchmark of one matrix and its engines
    encoder           of a whole model                     footprint: its bytes in memory
    training_step     of a training step

`blockprune bench` is the same as a command. Left out: accuracy, energy, GPUs, engines that are not on PyPI, integers.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
