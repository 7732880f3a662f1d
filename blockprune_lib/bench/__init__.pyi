from . import formats as formats
from .encoder import bench_model as bench_model
from .kernel_shares import bench_kernels as bench_kernels
from .matrix import bench_matrices as bench_matrices
from .records import SCHEMA as SCHEMA
from .records import Record as Record
from .records import read as read
from .training_step import bench_training as bench_training
