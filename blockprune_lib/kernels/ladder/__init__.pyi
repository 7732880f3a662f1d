from .assembly import HEAD as HEAD
from .assembly import inner_loop as inner_loop
from .chain import one_chain as one_chain
from .rungs import PAIRS as PAIRS
from .rungs import PICKED as PICKED
from .rungs import RUNGS as RUNGS
from .rungs import climb as climb
from .turned import pieces as pieces
