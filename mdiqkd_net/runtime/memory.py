"""Tell the C library to keep the memory that the kernels use again and again.

A node allocates arrays of some megabytes per message, in several threads. By default glibc gives
such memory back to the system at once and faults it in again page by page, which costs more than
many a kernel.
"""

import ctypes
import gc
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_KEEP_BYTES: Final = 256 << 20
_ARENAS: Final = 2


def keep_buffers() -> None:
    """Once, when a node starts. Does nothing on a C library without `mallopt`."""
    # What the imports made lives as long as the process: no collection need look at it again.
    gc.collect()
    gc.freeze()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, _ARENAS)
    mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
