from . import report as report
from .recipe import plan as plan
from .recipe import read_recipe as read_recipe
from .records import SCHEMA as SCHEMA
from .records import read as read
from .records import read_all as read_all
from .run_spec import Run as Run
from .sweep import run as run
