"""Time in gates: how far a click reaches, and where its afterpulse falls.

A pulse has an early and a late bin, each the gate of both detectors. Nothing happens between gates
here: a dark count or an afterpulse there would need the time tags of the tag level.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.imperfections import TaggerParams
from mdiqkd_net.params import MAX_PULSES, ReceiverParams
from mdiqkd_net.physics.detectors import Afterpulses, detector_of

MAX_STRAY: Final = 1e-3
"""Largest share of clicks that jitter may carry out of their bin where a level has no times."""

_SLACK: Final = 1e-6
"""Of a pulse period: a gate that opens this little before the end of the dead time is live."""


@dataclass(frozen=True, slots=True, eq=False)
class Gates:
    """What a click of one detector does to the later gates of the same detector.

    Attributes:
        reach: (2, 2) int64. After a click in bin m of pulse t, bin n of pulse u is dead if it comes
            later and u - t < reach[m, n].
        memory: Pulses before a pulse in which a click may make it dead.
        dead_pulses: (2, 2) dead time after a click in bin m less the time from bin m to bin n, in
            pulses: bin n of pulse u opens u - t - dead_pulses[m, n] after its end.
        recovery_pulses: Time constant of the recovery that begins there, in pulses; 0 is at once.
        afterpulse_probability: That a click has an afterpulse.
        afterpulse_cuts: (2, 2 k) cumulative chance of its decay and bin, by the bin of the click:
            column 2 i + n is decay i, bin n.
        afterpulse_scales: (k,) mean of the decays in pulses: later pulses are passed over
            geometrically with ratio exp(-1 / scale).
    """

    reach: NDArray[np.int64]
    memory: int
    dead_pulses: NDArray[np.float64]
    recovery_pulses: float
    afterpulse_probability: float
    afterpulse_cuts: NDArray[np.float64]
    afterpulse_scales: NDArray[np.float64]


def gates_of(receiver: ReceiverParams, pulse_rate_hz: float) -> Gates:
    """The memory of a receiver's detectors, in gates.

    Raises:
        DeviceError: On bins that do not fit into a pulse period, or a dead time that is longer
            than any block.
    """
    period_s, separation_s = bins_of(receiver, pulse_rate_hz)
    detector = detector_of(receiver)
    if detector.dead_time_s > MAX_PULSES * period_s:
        raise DeviceError(
            f"dead_time_s: found {detector.dead_time_s:g}; "
            f"allowed: at most {MAX_PULSES * period_s:g}, the longest block"
        )
    later = separation_s * np.array([[0.0, 1.0], [-1.0, 0.0]])  # from bin m to bin n
    pulses = (detector.dead_time_s - later) / period_s
    reach = np.maximum(np.ceil(pulses - _SLACK), 0.0).astype(np.int64)
    cuts, scales = _afterpulses(detector.afterpulses, reach, later, period_s)
    return Gates(
        reach=reach,
        memory=max(0, int(reach.max()) - 1),
        dead_pulses=pulses,
        recovery_pulses=detector.recovery_s / period_s,
        afterpulse_probability=detector.afterpulses.probability,
        afterpulse_cuts=cuts,
        afterpulse_scales=scales,
    )


def bins_of(receiver: ReceiverParams, pulse_rate_hz: float) -> tuple[float, float]:
    """The pulse period, and the time from the early to the late bin, in s.

    Raises:
        DeviceError: On bins that do not fit into a pulse period.
    """
    if not 0.0 < pulse_rate_hz < math.inf:
        raise DeviceError(f"pulse_rate_hz: found {pulse_rate_hz}; allowed: greater than 0")
    period_s = 1.0 / pulse_rate_hz
    separation_s = (
        period_s / 2.0 if receiver.bin_separation_s is None else receiver.bin_separation_s
    )
    if not 0.0 < separation_s < period_s:
        raise DeviceError(
            f"bin_separation_s: found {separation_s}; "
            f"allowed: above 0 and below the pulse period of {period_s:.6g} s"
        )
    return period_s, separation_s


def first_gates(reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pulses from a click in bin m to the first gate in bin n that is later and live; (2, 2)."""
    return np.maximum(reach, [[1, 0], [1, 1]])


def check_untimed(receiver: ReceiverParams, pulse_rate_hz: float) -> None:
    """Refuse what needs times, for the sake of a level that has gates instead.

    Raises:
        DeviceError: With the key, and the level that can.
    """
    needs_times = {
        "jitter_tail_share": receiver.jitter_tail_share not in (None, 0.0),
        "dark_rate_hz": receiver.dark_rate_hz is not None,
        "tagger": receiver.tagger != TaggerParams(),
    }
    for key, found in needs_times.items():
        if found:
            raise DeviceError(
                f"{key}: found a value at the level {receiver.level}; allowed: none, or the level "
                "tag, which has times"
            )
    period_s, separation_s = bins_of(receiver, pulse_rate_hz)
    jitter_s, spacing_s = detector_of(receiver).jitter_s, min(separation_s, period_s - separation_s)
    # A Gaussian of full width F leaves ±spacing/2 with chance erfc(√(ln 2) spacing / F).
    stray = 0.0 if jitter_s == 0.0 else math.erfc(math.sqrt(math.log(2.0)) * spacing_s / jitter_s)
    if stray > MAX_STRAY:
        raise DeviceError(
            f"jitter_s: found {jitter_s}, which carries {stray:.2g} of the clicks out of a bin "
            f"{spacing_s:.6g} s from the next; allowed: at most {MAX_STRAY}, or the level tag, "
            "which has times"
        )


def _afterpulses(
    afterpulses: Afterpulses,
    reach: NDArray[np.int64],
    later: NDArray[np.float64],
    period_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shares = np.array([share for share, _ in afterpulses.decays])
    scales = np.array([decay_s for _, decay_s in afterpulses.decays]) / period_s
    delays = first_gates(reach) + later / period_s  # (2, 2) pulses to the first gate of each bin
    delays = delays - delays.min(axis=1, keepdims=True)  # a common factor does not matter
    weights = np.exp(-delays[:, None] / scales[:, None])  # (2, k, 2)
    weights *= shares[:, None] / weights.sum(axis=-1)[..., None]
    cuts = np.cumsum(weights.reshape(2, -1), axis=1)
    cuts[:, -1] = 1.0
    return cuts, scales
