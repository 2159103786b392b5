"""How the kernels of this folder are compiled, and the types of what they work on."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any
"""An int64 to the compiler; to Python, int and numpy.int64 alike, which no one type covers."""

U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]
I32: TypeAlias = NDArray[np.int32]
U32: TypeAlias = NDArray[np.uint32]
U16: TypeAlias = NDArray[np.uint16]
U8: TypeAlias = NDArray[np.uint8]

# No kernel allocates, and counting references to arrays in every call costs half of the time.
# `_nrt` is not among the options that numba's type information names.
# Divisors are never zero, so divisions need no check.
_OPTIONS: Final = {
    "cache": True,
    "nogil": True,
    "_nrt": False,
    "no_cfunc_wrapper": True,
    "error_model": "numpy",
}
_compile: Callable[..., Any] = njit


def kernel(function: F) -> F:
    """Compile without allocation and without the interpreter lock."""
    compiled: F = _compile(**_OPTIONS)(function)
    return compiled


def called(function: F) -> F:
    """The same for what only other kernels call, and seldom."""
    compiled: F = _compile(**_OPTIONS, no_cpython_wrapper=True)(function)
    return compiled


def inlined(function: F) -> F:
    """The same for a few lines that are called in inner loops."""
    compiled: F = _compile(**_OPTIONS, forceinline=True, no_cpython_wrapper=True)(function)
    return compiled
