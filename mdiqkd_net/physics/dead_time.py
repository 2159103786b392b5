"""Click patterns behind detectors with a dead time, in closed form: the chain of their ages.

Each detector is rested, or its last click was so many pulses ago and in such a bin. That makes a
Markov chain from pulse to pulse, since raw clicks of pulses are independent once the settings are
averaged over. Its stationary state gives the chance of each registered pattern, exactly: no
simulation, and no approximation as independence of the two detectors would be.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import DeviceError

MAX_MEMORY: Final = 100
"""Pulses; the chain has (2 memory + 1)² states."""

Floats = NDArray[np.float64]


def registered_patterns(
    patterns: Floats, shares: Floats, reach: NDArray[np.int64], *, rtol: float = 1e-12
) -> Floats:
    """Chance of each registered pattern, by pair of states, long after the start.

    The detectors' past depends on earlier pulses only, so it is independent of the states of the
    pulse in question: their chances of being live apply to every pair alike.

    Args:
        patterns: Of `optics.raw_patterns`, (n_pairs, 16).
        shares: How often each pair of states is sent, (n_pairs,); sums to 1.
        reach: Of `gates.Gates`.
        rtol: The iteration stops where a pulse changes the occupation by less than this in all.

    Returns:
        Shape (n_pairs, 16), rows sum to 1.

    Raises:
        DeviceError: If the dead time spans too many pulses for the chain.
    """
    memory = max(0, int(reach.max()) - 1)
    if memory > MAX_MEMORY:
        raise DeviceError(
            f"dead time: found {memory} pulses; allowed: {MAX_MEMORY} for the closed form"
        )
    occupation = _stationary(shares @ patterns, reach, memory, rtol)
    # Only which bins are live matters now: four cases for each detector.
    case = _live_bins(reach, memory) @ [1, 2]
    joint = np.zeros((4, 4))
    np.add.at(joint, (case[:, None], case[None, :]), occupation)
    result = np.zeros_like(patterns)
    for (a, b), chance in np.ndenumerate(joint):
        live = [np.array([c & 1, c >> 1], dtype=bool) for c in (a, b)]
        for raw in range(patterns.shape[1]):
            seen = _seen(raw, live[0], reach, 0) | _seen(raw, live[1], reach, 1)
            result[:, seen] += chance * patterns[:, raw]
    return result


def _live_bins(reach: NDArray[np.int64], memory: int) -> NDArray[np.bool_]:
    """Whether a detector is live in the bins of the next pulse, by its state; (2 memory + 1, 2).

    State 0 is rested; state 1 + 2 (age - 1) + m clicked last in bin m, `age` pulses ago.
    """
    live = np.ones((2 * memory + 1, 2), dtype=bool)
    for age in range(1, memory + 1):
        live[2 * age - 1 : 2 * age + 1] = age >= reach
    return live


def _seen(raw: int, live: NDArray[np.bool_], reach: NDArray[np.int64], d: int) -> int:
    """Raw clicks of detector d that it registers: a click in the early bin may hide the late."""
    early = bool(raw >> d & 1 and live[0])
    late = bool(raw >> (2 + d) & 1 and live[1] and not (early and reach[0, 1] > 0))
    return early << d | late << (2 + d)


def _stationary(raw: Floats, reach: NDArray[np.int64], memory: int, rtol: float) -> Floats:
    """Joint occupation of the states of both detectors before a pulse."""
    n = 2 * memory + 1
    live = _live_bins(reach, memory)
    older = np.arange(n) + 2
    older[0] = 0
    older[older >= n] = 0
    # next_state[d, raw pattern, state]
    next_state = np.empty((2, 16, n), dtype=np.int64)
    for d in range(2):
        for pattern in range(16):
            for state in range(n):
                seen = _seen(pattern, live[state], reach, d) >> d
                clicked = 0 if memory == 0 else (2 if seen & 4 else 1)
                next_state[d, pattern, state] = clicked if seen else older[state]
    occupation: Floats = np.zeros((n, n))
    occupation[0, 0] = 1.0
    targets = next_state[0][:, :, None] * n + next_state[1][:, None, :]
    while True:
        flow = raw[:, None, None] * occupation
        after: Floats = (
            np.bincount(targets.ravel(), flow.ravel(), minlength=n * n)
            .reshape(n, n)
            .astype(np.float64)
        )
        if np.abs(after - occupation).sum() < rtol:
            return after
        occupation = after
