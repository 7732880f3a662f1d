from .assembly import HEAD as HEAD
from .assembly import inner_loop as inner_loop
from .rungs import ROW_RUNGS as ROW_RUNGS
from .rungs import RUNGS as RUNGS
from .rungs import climb as climb
