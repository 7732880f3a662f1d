"""Floor 6: explorers that answer what words cannot, with a kernel, in Colab, and on a page without one.

    BlockExplorer         which groups of real weights stay at a rate
    ReweightingExplorer   two groups in the plane, the penalty's contour and the path of the iterate
    RooflineExplorer      a layer under the roof of a measured machine
    KernelAnimation       what one step of a micro-kernel touches

    interact              the same with ipywidgets controls: cut, score and time the reader's own model (own_model)

Each of the first four is one ES module, NAME.js, and a class in NAME.py that shows it; `host` is what they share. They
need anywidget, from the extra `book`.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
