"""Public blocks of a simulated link, without any protocol: what monitors look at."""

import numpy as np
from memory_users import Random
from triangle import RECEIVER, SOURCE, TRANSMITTANCE

from mdiqkd_net.blocks import PSI_MINUS, Segment, bit_of, setting_of
from mdiqkd_net.devices import SimulatedReceiver
from mdiqkd_net.monitoring.public import Announced, PublicBlock
from mdiqkd_net.physics.encodings import light_table
from mdiqkd_net.protocol.announcing import NO_BELL_STATE, bell_outcomes
from mdiqkd_net.protocol.light import SessionLight

ZZ = 15


def simulated(
    seed,
    n_pulses=20_000_000,
    *,
    receiver=RECEIVER,
    source=SOURCE,
    light=None,
    twist=None,
    transmittances=(TRANSMITTANCE, TRANSMITTANCE),
    **more,
):
    """One honest block; `twist` may change pulses and outcomes before they are announced."""
    table = light_table(source)
    device = SimulatedReceiver(
        receiver=receiver,
        transmittances=transmittances,
        light=(light or table, light or table),
        seed=seed,
    )
    lights = [SessionLight(source, 1, Random(100 * seed + i)) for i in range(2)]
    device.begin(Segment(0, 0, n_pulses))
    pulses, outcomes = [], []
    while batch := device.next_candidates(1 << 16):
        states = [mine.states_at(0, batch.asked) for mine in lights]
        clicks = device.detect(batch, *states)
        labels = bell_outcomes(clicks.patterns)
        kept = labels != NO_BELL_STATE
        pulses.append(clicks.pulses[kept])
        outcomes.append(labels[kept])
    pulses, outcomes = np.concatenate(pulses), np.concatenate(outcomes)
    if twist is not None:
        pulses, outcomes = twist(pulses, outcomes)
    states = tuple(mine.states_at(0, pulses) for mine in lights)
    return public(pulses, outcomes, states, n_pulses, source, **more)


def public(pulses, outcomes, states, n_pulses, source=SOURCE, **more):
    """A block of announced events whose states, 0 to 6 at both users, are known."""
    settings = tuple(setting_of(of) for of in states)
    category = settings[0] << 2 | settings[1]
    test = np.isin(category, (5, 6, 9, 10))
    bits = [bit_of(of) for of in states]
    wrong = (bits[0] ^ bits[1] ^ (outcomes == PSI_MINUS)).astype(bool)
    key = category == ZZ
    values = {
        "users": ("alice", "bob"),
        "block": 1,
        "end": "key",
        "n_pulses": n_pulses,
        "pulse_rate_hz": 10**9,
        "bell_states": ("psi_minus", "psi_plus"),
        "intensities": (source.intensities, source.intensities),
        "probabilities": (source.probabilities, source.probabilities),
        "covered": np.array([n_pulses]),
        "announced": Announced(
            pulses, outcomes, settings, category[test], outcomes[test], wrong[test]
        ),
        "n_key": int(key.sum()),
        "m_key": int((bits[0] == bits[1])[key].sum()),
        "y11_lower": 0.1,
        "e11_upper": 0.1,
    }
    return PublicBlock(**{**values, **more})
