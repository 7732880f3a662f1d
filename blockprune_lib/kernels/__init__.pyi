from . import ladder as ladder
from .csr import CsrMatrix as CsrMatrix
from .dense_path import DenseProductWarning as DenseProductWarning
from .functional import linear as linear
from .reference import linear_reference as linear_reference
from .traced import DenseExportWarning as DenseExportWarning
