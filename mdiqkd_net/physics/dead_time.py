"""Click patterns behind detectors with a dead time, in closed form: the chain of their ages.

Each detector is rested, or its last click was so many pulses ago and in such a bin. That makes a
Markov chain from pulse to pulse, since raw clicks of pulses are independent once the settings are
averaged over. Its stationary state gives the chance of each registered pattern, exactly: no
simulation, and no approximation as independence of the two detectors would be.

The chain has (2 memory + 1)² states, but from click to click it only gets older. What is solved is
the chain from click to click, in which one detector at least has just clicked: 8 memory states.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import DeviceError

MAX_MEMORY: Final = 100
"""Pulses that the chain of both detectors looks back; longer takes seconds."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_RAW: Final = np.arange(16)
_LIVE_BINS: Final = np.array([[False, False], [True, False], [False, True], [True, True]])
"""Of one detector, by case: bit m of the case is bin m."""


def registered_patterns(patterns: Floats, shares: Floats, reach: Integers) -> Floats:
    """Chance of each registered pattern, by pair of states, long after the start.

    The detectors' past depends on earlier pulses only, so it is independent of the states of the
    pulse in question: their chances of being live apply to every pair alike.

    Args:
        patterns: Of `optics.raw_patterns`, (n_pairs, 16).
        shares: How often each pair of states is sent, (n_pairs,); sums to 1.
        reach: Of `gates.Gates`.

    Returns:
        Shape (n_pairs, 16), rows sum to 1.

    Raises:
        DeviceError: If the dead time spans too many pulses for the chain.
    """
    result: Floats = patterns @ registration(shares @ patterns, reach)
    return result


def registration(raw: Floats, reach: Integers, *, correlated: bool = True) -> Floats:
    """What becomes of each raw pattern, long after the start.

    Args:
        raw: Chance of each raw pattern, averaged over what is sent, (16,).
        reach: Of `gates.Gates`.
        correlated: Whether to follow both detectors together, which is exact. Otherwise each is
            followed by itself, exactly and for any dead time, and taken as independent of the
            other: raw clicks of both in one pulse make them dead together, which this ignores.

    Returns:
        Shape (16, 16): raw pattern, registered pattern; rows sum to 1.

    Raises:
        DeviceError: If the dead time spans too many pulses for both detectors together, and if
            clicks are so certain that the detectors forget nothing.
    """
    joint = _both_live(raw, reach) if correlated else np.outer(*_each_live(raw, reach))
    result = np.zeros((16, 16))
    for (a, b), chance in np.ndenumerate(joint):
        seen = _seen(_LIVE_BINS[a], reach, 0) | _seen(_LIVE_BINS[b], reach, 1)
        np.add.at(result, (_RAW, seen), chance)
    return result


def memory_of(reach: Integers) -> int:
    """Pulses before a pulse in which a click may matter for it."""
    return max(0, int(reach.max()) - 1)


def _seen(live: NDArray[np.bool_], reach: Integers, d: int) -> Integers:
    """Of each raw pattern, what detector d registers: a click early may hide the late; (16,)."""
    early = (_RAW >> d & 1).astype(bool) & live[0]
    late = (_RAW >> (2 + d) & 1).astype(bool) & live[1]
    if reach[0, 1] > 0:
        late &= ~early
    seen: Integers = early.astype(np.int64) << d | late.astype(np.int64) << (2 + d)
    return seen


def _clicked(raw: Floats, reach: Integers) -> Floats:
    """Chance that the detectors' last clicks of a pulse are in given bins.

    Returns:
        Shape (4, 4, 3, 3): live bins of detectors 0 and 1, then for each of them no click, early,
        late, by the last.
    """
    result = np.zeros((4, 4, 3, 3))
    last = np.array([0, 1, 2, 2])  # of the clicks of one detector: bit 0 early, bit 1 late
    for (a, b), _ in np.ndenumerate(result[..., 0, 0]):
        clicks = [_seen(_LIVE_BINS[case], reach, d) >> d for d, case in enumerate((a, b))]
        bins = [last[(c & 1) | (c >> 1 & 2)] for c in clicks]
        np.add.at(result[a, b], (bins[0], bins[1]), raw)
    return result


def _cases(reach: Integers, memory: int) -> Integers:
    """Live bins of the next pulse, by the age of the last click and its bin; (memory + 2, 2).

    Age 0 stands for the pulse of the click itself and is not used; at memory + 1 all are live.
    """
    ages = np.arange(memory + 2)[:, None, None]
    live = ages >= reach  # (age, bin of the click, bin of the gate)
    cases: Integers = live.astype(np.int64) @ np.array([1, 2])
    return cases


def _both_live(raw: Floats, reach: Integers) -> Floats:
    """Chance of each case of live bins of both detectors, (4, 4)."""
    memory = memory_of(reach)
    if memory > MAX_MEMORY:
        raise DeviceError(
            f"dead time: found {memory} pulses; allowed: {MAX_MEMORY} for the closed form"
        )
    clicked = _clicked(raw, reach)
    joint: Floats = np.zeros((4, 4))
    if memory == 0 or clicked[3, 3, 0, 0] >= 1.0:
        joint[3, 3] = 1.0
        return joint
    # State (age, bin) of a detector as 2 (age - 1) + bin, and 2 memory if it is rested.
    n = 2 * memory + 1
    starts = np.array(
        [(i, j) for i in range(2) for j in range(n)] + [(i, j) for i in range(2, n) for j in (0, 1)]
    )
    number = np.full((n, n), -1)
    number[starts[:, 0], starts[:, 1]] = np.arange(len(starts))
    # Every start grows older until somebody clicks or both are rested.
    states = np.minimum(starts[:, None] + 2 * np.arange(memory + 1)[:, None], 2 * memory)
    older = np.minimum(states + 2, 2 * memory)
    by_state = np.append(_cases(reach, memory)[1:-1].ravel(), 3)
    cases = by_state[states]
    silent = clicked[cases[..., 0], cases[..., 1], 0, 0]
    visits = np.ones(silent.shape)
    np.cumprod(silent[:, :-1], axis=1, out=visits[:, 1:])
    # All that is left to happen to detectors at rest is a click, sooner or later.
    visits[:, -1] /= clicked[3, 3].ravel()[1:].sum()
    size = len(starts)
    step = np.zeros(size * size)
    rows = np.arange(size)[:, None] * size
    for i, j in ((i, j) for i in range(3) for j in range(3) if i or j):
        after = number[
            older[..., 0] if i == 0 else np.int64(i - 1),
            older[..., 1] if j == 0 else np.int64(j - 1),
        ]
        flow = visits * clicked[cases[..., 0], cases[..., 1], i, j]
        cells = np.broadcast_to(rows + after, flow.shape)
        step += np.bincount(cells.ravel(), flow.ravel(), minlength=size * size)
    begun = _stationary(step.reshape(size, size))
    np.add.at(joint, (cases[..., 0], cases[..., 1]), begun[:, None] * visits)
    joint /= joint.sum()
    return joint


def _each_live(raw: Floats, reach: Integers) -> tuple[Floats, Floats]:
    """Chance of each case of live bins, (4,), of each detector by itself."""
    clicked = _clicked(raw, reach)
    # With the other detector live in no bin its clicks do not matter, as they should not.
    alone = clicked[:, 0].sum(axis=-1), clicked[0].sum(axis=1)
    first, second = (_one_live(chances, reach) for chances in alone)
    return first, second


def _one_live(clicked: Floats, reach: Integers) -> Floats:
    """Of one detector, from the chance of no click, early, late by its live bins, (4, 3)."""
    live: Floats = np.zeros(4)
    if memory_of(reach) == 0 or clicked[3, 0] >= 1.0:
        live[3] = 1.0
        return live
    # It is dead in both bins until the first gate opens, and rested once all are open.
    first, last = int(reach.min(axis=1).min()), int(reach.max())
    ages = np.arange(max(1, first), last + 1)[:, None, None]
    cases = (ages >= reach).astype(np.int64) @ np.array([1, 2])  # (age, bin of the click)
    visits = np.ones(cases.shape)
    np.cumprod(clicked[cases[:-1], 0], axis=0, out=visits[1:])
    visits[-1] /= clicked[3, 1:].sum()
    begun = _stationary((visits[..., None] * clicked[cases, 1:]).sum(axis=0))
    np.add.at(live, cases, begun * visits)
    live[0] += ages[0, 0, 0] - 1
    live /= live.sum()
    return live


def _stationary(step: Floats) -> Floats:
    """The distribution that a step of a chain leaves as it is."""
    # (I - S)ᵀ x = 0 has a solution of sum 1; adding a start of sum 1 to both sides fixes it.
    start = np.full(len(step), 1.0 / len(step))
    try:
        found: Floats = np.linalg.solve((np.eye(len(step)) - step).T + start[:, None], start)
    except np.linalg.LinAlgError:
        found = np.full(len(step), np.nan)
    if not (np.isfinite(found).all() and found.min() > -1e-9):
        raise DeviceError(
            "light: found clicks so certain that detectors with a dead time never forget when "
            "they began; allowed: some chance of silence"
        )
    return np.maximum(found, 0.0)
