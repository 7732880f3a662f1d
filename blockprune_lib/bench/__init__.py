"""Floor 4: block-sparse layers beside every off-the-shelf way to run the same pruned matrix, on this machine.

    settings          what to measure, checked             model_settings: of whole models
    workload          the models                           sequences: what they are fed, padded or not
    rivals            the register of every rival          engine: one that is prepared to run a piece of work
    with_torch, with_onnxruntime, with_openvino, with_formats: how each rival is made     export: a model as ONNX
    formats           CSR and BSR as torch and SciPy have them     dense: the dense products that torch has
    case              what is kept of each case            tables: how it prints
    records           the JSON record                      plots: as a picture
    measuring         check the answers, then time in turns with the machine's peak
    matrix            the benchmark of one matrix          kernel_shares: of the encoder's products alone
    encoder           of a whole model                     footprint: its bytes in memory
    training_step     of a training step

`blockprune bench` is the same as a command. Left out: accuracy, energy, GPUs, engines not on PyPI, our own int8.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
