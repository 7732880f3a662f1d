"""`python -m blockprune_lib.cli`, which torchrun and accelerate launch can start."""

import sys

from . import main

sys.exit(main())
