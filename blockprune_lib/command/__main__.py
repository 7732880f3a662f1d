"""`python -m blockprune_lib.command`, which torchrun and accelerate launch can start."""

import sys

from . import main

sys.exit(main())
