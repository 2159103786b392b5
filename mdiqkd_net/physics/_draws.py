"""Compiled random numbers beyond the uniform ones: exponential and normal, by ziggurat.

Source: Marsaglia & Tsang, J. Stat. Softw. 5(8), 1 (2000), with the layer and the abscissa from
different bits of the word, as in Doornik, "An improved ziggurat method" (2005). Nearly every draw
is one word, one product and one comparison; the others decide exactly.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.physics._kernels import next_word

_UNIT: Final = 2.0**-53
_N_LAYERS: Final = 256
_LAYER: Final = np.uint64(_N_LAYERS - 1)
_SIGN_SHIFT: Final = np.uint64(8)

EXPONENTIAL_EDGE: Final = 7.697117470131050
NORMAL_EDGE: Final = 3.654152885361009
"""Where the tail begins if all 256 layers, the lowest with the tail, have the same area."""


def layers(
    edge: float,
    tail: float,
    density: Callable[[float], float],
    inverse: Callable[[float], float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ends of the layers and the density there, (257,) each, from the lowest layer up.

    Args:
        edge: Where the tail begins.
        tail: Area beyond it.
        density: Falling from 1 at 0.
        inverse: Of the density.
    """
    area = edge * density(edge) + tail
    ends = [area / density(edge), edge]
    while len(ends) < _N_LAYERS:
        ends.append(inverse(min(1.0, area / ends[-1] + density(ends[-1]))))
    ends.append(0.0)
    return np.array(ends), np.array([density(x) for x in ends])


_E_ENDS, _E_HEIGHTS = layers(
    EXPONENTIAL_EDGE, math.exp(-EXPONENTIAL_EDGE), lambda x: math.exp(-x), lambda y: -math.log(y)
)
_N_ENDS, _N_HEIGHTS = layers(
    NORMAL_EDGE,
    math.sqrt(math.pi / 2.0) * math.erfc(NORMAL_EDGE / math.sqrt(2.0)),
    lambda x: math.exp(-0.5 * x * x),
    lambda y: math.sqrt(-2.0 * math.log(y)),
)


@njit(cache=True, nogil=True)
def uniform(state: NDArray[np.uint64]) -> float:
    """Uniform in [0, 1), a multiple of 2^-53."""
    return np.float64(next_word(state) >> np.uint64(11)) * _UNIT


@njit(cache=True, nogil=True)
def exponential(state: NDArray[np.uint64]) -> float:
    """Exponential with mean 1."""
    word = next_word(state)
    i = np.int64(word & _LAYER)
    x = np.float64(word >> np.uint64(11)) * _UNIT * _E_ENDS[i]
    if x < _E_ENDS[i + 1]:
        return x  # type: ignore[no-any-return]
    return _rarely_exponential(state, i, x)


@njit(cache=True, nogil=True)
def _rarely_exponential(state: NDArray[np.uint64], i: np.int64, x: float) -> float:
    """Go on where abscissa x of layer i does not settle the matter."""
    beyond = 0.0
    while True:
        if x < _E_ENDS[i + 1]:
            return beyond + x
        if i == 0:
            # The tail of an exponential is the same exponential, further on.
            beyond += EXPONENTIAL_EDGE
        elif _E_HEIGHTS[i] + uniform(state) * (_E_HEIGHTS[i + 1] - _E_HEIGHTS[i]) < math.exp(-x):
            return beyond + x
        word = next_word(state)
        i = np.int64(word & _LAYER)
        x = np.float64(word >> np.uint64(11)) * _UNIT * _E_ENDS[i]


@njit(cache=True, nogil=True)
def _rarely_normal(state: NDArray[np.uint64], i: np.int64, x: float) -> float:
    """Go on where abscissa x of layer i does not settle the matter; without the sign."""
    while True:
        if x < _N_ENDS[i + 1]:
            return x
        if i == 0:
            while True:
                x = -math.log(1.0 - uniform(state)) / NORMAL_EDGE
                if -2.0 * math.log(1.0 - uniform(state)) > x * x:
                    return x + NORMAL_EDGE
        height = _N_HEIGHTS[i] + uniform(state) * (_N_HEIGHTS[i + 1] - _N_HEIGHTS[i])
        if height < math.exp(-0.5 * x * x):
            return x
        word = next_word(state)
        i = np.int64(word & _LAYER)
        x = np.float64(word >> np.uint64(11)) * _UNIT * _N_ENDS[i]


@njit(cache=True, nogil=True)
def _step(
    s0: np.uint64, s1: np.uint64, s2: np.uint64, s3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """One step of xoshiro256++ as in `next_word`, from registers to registers.

    Loops that draw nothing else keep the generator there, which halves the price of a draw.

    Returns:
        The 64 bits, and the four words of the new state.
    """
    total = s0 + s3
    word = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    t = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    return word, s0, s1, s2 ^ t, (s3 << np.uint64(45)) | (s3 >> np.uint64(19))


@njit(cache=True, nogil=True)
def fill_uniform(state: NDArray[np.uint64], out: NDArray[np.float64]) -> None:
    """Fill `out` with what as many calls of `uniform` give."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for i in range(out.shape[0]):
        word, s0, s1, s2, s3 = _step(s0, s1, s2, s3)
        out[i] = np.float64(word >> np.uint64(11)) * _UNIT
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3


@njit(cache=True, nogil=True)
def fill_exponential(state: NDArray[np.uint64], out: NDArray[np.float64]) -> None:
    """Fill `out` with what as many calls of `exponential` give."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for i in range(out.shape[0]):
        word, s0, s1, s2, s3 = _step(s0, s1, s2, s3)
        layer = np.int64(word & _LAYER)
        x = np.float64(word >> np.uint64(11)) * _UNIT * _E_ENDS[layer]
        if x >= _E_ENDS[layer + 1]:
            state[0], state[1], state[2], state[3] = s0, s1, s2, s3
            x = _rarely_exponential(state, layer, x)
            s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
        out[i] = x
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3


@njit(cache=True, nogil=True)
def fill_normal(state: NDArray[np.uint64], out: NDArray[np.float64]) -> None:
    """Fill `out` with normal numbers of mean 0 and variance 1."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for i in range(out.shape[0]):
        word, s0, s1, s2, s3 = _step(s0, s1, s2, s3)
        layer = np.int64(word & _LAYER)
        x = np.float64(word >> np.uint64(11)) * _UNIT * _N_ENDS[layer]
        if x >= _N_ENDS[layer + 1]:
            state[0], state[1], state[2], state[3] = s0, s1, s2, s3
            x = _rarely_normal(state, layer, x)
            s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
        # The sign by arithmetic, since a branch on a coin is mispredicted half of the time.
        out[i] = x * np.float64(1 - 2 * np.int64((word >> _SIGN_SHIFT) & np.uint64(1)))
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
