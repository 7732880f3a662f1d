from .block_explorer import BlockExplorer as BlockExplorer
from .kernel_animation import KernelAnimation as KernelAnimation
from .own_model import interact as interact
from .rate_explorer import RateExplorer as RateExplorer
from .reweighting_explorer import ReweightingExplorer as ReweightingExplorer
from .roofline_explorer import RooflineExplorer as RooflineExplorer
