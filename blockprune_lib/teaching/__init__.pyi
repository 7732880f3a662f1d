from . import chapter as chapter
from .chapter import glue as glue
from .checking import check as check
from .exercises import Wrong as Wrong
from .exercises import exercise as exercise
