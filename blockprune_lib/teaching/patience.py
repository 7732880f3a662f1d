"""Ends a call that does not come back: a loop without an end would else keep the cell running, with no word."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class TooLong(BaseException):
    """Raised in a call whose time is over; no `except Exception` of the reader's catches it."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the body once it has worked for so many *seconds*, or has waited four times as long.

    What is counted is the time of this program, so that other programs on the machine do not shorten it. It comes
    between two steps of Python: one call into C, however long, is not cut short.

    >>> try:
    ...     with within(0.05):
    ...         while True:
    ...             pass
    ... except TooLong:
    ...     print("ended")
    ended
    """
    thread, lock, over = threading.get_ident(), threading.Lock(), threading.Event()

    def watch() -> None:
        worked, begun = time.process_time(), time.monotonic()
        while not over.wait(min(0.2, seconds)):
            if time.process_time() - worked >= seconds or time.monotonic() - begun >= 4 * seconds:
                with lock:
                    if not over.is_set():
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TooLong))
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            over.set()
