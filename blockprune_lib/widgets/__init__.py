"""Explorers that answer what words cannot, with a kernel, in Colab, and on a page without one; the extra `book`.

block_explorer        which groups of real weights stay at a rate
reweighting_explorer  two groups in the plane, the penalty's contour and the path of the iterate
rate_explorer         accuracy, time and bytes of recorded models, and of their rivals
roofline_explorer     a layer under the roof of a measured machine
kernel_animation      what one step of a micro-kernel touches
host, pictures        what these share: one ES module, NAME.js, on three hosts; PNGs for print
recorded              what the rate explorer takes from records
own_model             cut, score and time the reader's own model
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
