"""The one private room, under all floors: checks, tables, files, provenance, plots."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
