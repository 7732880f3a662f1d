from . import report as report
from .recipe import Run as Run
from .recipe import plan as plan
from .recipe import read_recipe as read_recipe
from .records import SCHEMA as SCHEMA
from .records import read as read
from .records import read_all as read_all
from .sweep import run as run
