"""What a subcommand says of flags that it cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(Exception):
    """A flag that cannot be done: what was asked and what would do; printed with the subcommand's usage."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn the ValueError or TypeError with which the library refuses a value into a `UsageError`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
