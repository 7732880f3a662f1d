"""`python -m blockprune_lib.command` is `blockprune`."""

import sys

from . import main

sys.exit(main())
