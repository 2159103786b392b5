"""A link's click patterns, raw and registered: from its description to what its users may see."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES, SETTING_O, setting_of
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.params import Link
from mdiqkd_net.physics.dead_time import MAX_MEMORY, memory_of, registration
from mdiqkd_net.physics.detectors import detector_of
from mdiqkd_net.physics.gates import gates_of
from mdiqkd_net.physics.optics import N_PATTERNS, raw_patterns
from mdiqkd_net.physics.pair_optics import Arm, PairOptics, averaged_optics, pair_optics

Floats = NDArray[np.float64]


def link_optics(link: Link) -> PairOptics:
    """What `pair_optics.averaged_optics` makes of the link."""
    return averaged_optics(link.receiver, (Arm.of(link.alice), Arm.of(link.bob)))


def has_dead_time(link: Link) -> bool:
    """Whether the detectors of the link are ever dead."""
    return detector_of(link.receiver).dead_time_s > 0.0


def reach_of(link: Link) -> NDArray[np.int64] | None:
    """Of the detectors' dead time, as in `gates.Gates`; None if they have none.

    Raises:
        ConfigError: If pulses have no rate that the dead time could be compared with.
        DeviceError: On what `gates.gates_of` refuses.
    """
    if not has_dead_time(link):
        return None
    if link.pulse_rate_hz is None:
        dead_time_s = detector_of(link.receiver).dead_time_s
        raise ConfigError(
            f"pulse_rate_hz: found none, with a dead time of {dead_time_s:g} s; allowed: above 0"
        )
    return gates_of(link.receiver, link.pulse_rate_hz).reach


def link_patterns(
    link: Link, optics: PairOptics, patterns: Sequence[int] = range(N_PATTERNS)
) -> Floats:
    """Raw patterns by pair of states, averaged over the settings before; (49, n_patterns)."""
    table = raw_patterns(
        receiver=optics.receiver,
        transmittances=optics.transmittances,
        light=optics.light,
        phase=optics.phase,
        patterns=patterns,
    )
    if not any(light.remembers for light in optics.light):
        return table
    alice, bob = (
        light.previous_probabilities(user.source)
        for light, user in zip(optics.light, (link.alice, link.bob), strict=True)
    )
    by_previous = table.reshape(alice.size, N_STATES, bob.size, N_STATES, len(patterns))
    averaged: Floats = np.einsum("i,iajbp,j->abp", alice, by_previous, bob)
    return averaged.reshape(-1, len(patterns))


def link_registration(link: Link, raw: Floats, reach: NDArray[np.int64]) -> Floats:
    """What becomes of raw patterns, as of `dead_time.registration`, (16, 16).

    Detectors are followed together up to `dead_time.MAX_MEMORY` pulses of dead time, beyond that
    independently.

    Args:
        link: For the probabilities of its settings.
        raw: Of `link_patterns`, all sixteen.
        reach: Of `reach_of`.
    """
    setting = setting_of(np.arange(N_STATES, dtype=np.uint8))
    alice, bob = (
        np.array(user.probabilities)[setting] / np.where(setting == SETTING_O, 1.0, 2.0)
        for user in (link.alice, link.bob)
    )
    sent = np.outer(alice, bob).ravel()
    return registration(sent @ raw, reach, correlated=memory_of(reach) <= MAX_MEMORY)


def shares_matter(link: Link) -> bool:
    """Whether gains depend on how often the settings are sent: through what came before."""
    effects = (user.transmitter.pattern_effect for user in (link.alice, link.bob))
    return has_dead_time(link) or any(effect is not None for effect in effects)


def left_out(link: Link) -> list[str]:
    """What the link has and its expected figures do not know, in words; empty if they are exact."""
    users = (link.alice, link.bob)
    found = []
    if any(user.fiber.drift is not None for user in users):
        found.append("drift")
    detector, tagger = detector_of(link.receiver), link.receiver.tagger
    if detector.afterpulses.probability > 0.0:
        found.append("afterpulses")
    if detector.recovery_s > 0.0:
        found.append("gradual recovery after a click")
    if link.receiver.level == "tag":
        if detector.jitter_s > 0.0 or detector.has_tail:
            found.append("jitter across the gates")
        if not tagger.calibrated:
            found.append("skew and clock of the tagger")
        if tagger.veto and detector.dead_time_s > 0.0:
            found.append("events that the veto drops")
    reach = reach_of(link)
    if reach is None:
        return found
    if memory_of(reach) > MAX_MEMORY:
        found.append(f"dead times of both detectors at once, beyond {MAX_MEMORY} pulses")
    arms = (Arm.of(link.alice), Arm.of(link.bob))
    phase = pair_optics(link.receiver, arms, pulse_rate_hz=1.0).phase
    fades = (user.free_space for user in users)
    for name, present in (
        ("pattern effect", any(user.transmitter.pattern_effect is not None for user in users)),
        ("fading", any(path is not None and path.rytov_variance > 0.0 for path in fades)),
        ("phase shared by pulses", phase.shared),
    ):
        if present:
            found.append(f"{name} before a dead time")
    return found
