"""Whether the matrix unit of recent Intel servers, AMX, is there and may be used, as torch and OpenVINO do in bfloat16.

The processor announces it, and on Linux the system must grant each process the 8 KiB of registers that its tiles fill
(https://docs.kernel.org/arch/x86/xstate.html). `amx_state` asks whether it would, and requests nothing; `request_tiles`
requests it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Mapping

#: Of the Linux kernel: the system call, what it is asked, and the bit that stands for the data of tiles.
ARCH_PRCTL, ARCH_GET_XCOMP_SUPP, ARCH_REQ_XCOMP_PERM, TILE_DATA = 158, 0x1021, 0x1023, 18


def amx_state(features: Mapping[str, bool], supported: Callable[[], int | None] | None = None) -> str:
    """ "not there", "granted by the system", or "there, but refused by the system", from LLVM's feature names.

    `supported` returns the bits of what the system grants, None where it cannot be asked.

    >>> amx_state({"avx512f": True})
    'not there'
    """
    if not features.get("amx-tile", False):
        return "not there"
    bits = (supported or _supported)()
    return "granted by the system" if bits is not None and bits >> TILE_DATA & 1 else "there, but refused by the system"


def request_tiles() -> bool:
    """Whether this process may use tiles from now on, on all its threads: asked of the system, which may refuse."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0


def _supported() -> int | None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    bits = ctypes.c_uint64()
    done = ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_GET_XCOMP_SUPP, ctypes.byref(bits))
    return bits.value if done == 0 else None
