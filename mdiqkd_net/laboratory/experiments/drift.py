"""Events against time while loss and polarization of Bob's arm drift, segment by segment.

Conditions hold still for a segment, so that its counts have a closed form of their own: that of the
optics under the conditions of that time.
"""

import msgspec
import numpy as np

from mdiqkd_net.blocks import Segment
from mdiqkd_net.imperfections import Drift, Process, TransmitterParams
from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.finding import Finding, Point, multinomial_chi_square
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics.drift import NOMINAL, ArmDrift
from mdiqkd_net.physics.optics import raw_patterns
from mdiqkd_net.physics.pair_optics import Arm, PairOptics, pair_optics

TIMES_S = tuple(600.0 * i for i in range(12))


def link() -> Link:
    """Polarization encoding; Bob's arm loses up to 3 dB more or less and turns within the hour."""
    user = UserLink(
        x=Setting(0.05, 0.2),
        y=Setting(0.2, 0.4),
        z=Setting(0.4, 0.4),
        length_km=25.0,
        attenuation_db_per_km=0.2,
        transmitter=TransmitterParams(encoding="polarization"),
    )
    drift = Drift(
        loss_db=Process(kind="diurnal", size=3.0, time_s=7200.0),
        polarization_rad=Process(kind="random_walk", size=1.0, time_s=3600.0),
    )
    return Link(
        n_pulses=1,
        alice=user,
        bob=msgspec.structs.replace(user, insertion_loss_db=4.0, drift=drift),
        receiver=ReceiverParams(
            efficiency=0.8, dark_probability=1e-6, misalignment=0.0, mode_overlap=0.98
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """One finding: all pairs of states and patterns of all segments."""
    described = light.at_level(link(), level)
    arms = Arm.of(described.alice), Arm.of(described.bob)
    weather = ArmDrift(described.bob.fiber, seed)

    def optics(segment: Segment) -> PairOptics:
        conditions = NOMINAL, weather.at(TIMES_S[segment.number])
        return pair_optics(described.receiver, arms, conditions, pulse_rate_hz=light.PULSE_RATE_HZ)

    receiver = light.receiver_of(described, seed, optics)
    n_pulses = light.pulses_for(described, n_events // len(TIMES_S))
    points = []
    chi_square, degrees, counted = 0.0, 0, 0
    for number, time_s in enumerate(TIMES_S):
        segment = Segment(number, number * n_pulses, n_pulses)
        cells = light.run_segment(described, receiver, segment, seed).counts
        now = optics(segment)
        patterns = raw_patterns(
            receiver=now.receiver,
            transmittances=now.transmittances,
            light=now.light,
            phase=now.phase,
        ).reshape(cells.shape)
        mean = light.weighted(described, n_pulses, patterns)
        statistic, cells_used = multinomial_chi_square(cells.astype(np.float64), mean)
        chi_square, degrees = chi_square + statistic, degrees + cells_used
        counted += int(cells.sum())
        total = float(mean.sum())
        points.append(
            Point(
                at=time_s / 60.0,
                measured=cells.sum() / n_pulses,
                sigma=float(np.sqrt(total)) / n_pulses,
                expected=total / n_pulses,
            )
        )
    return [
        Finding(
            experiment="drift",
            case="loss, polarization",
            level=level,
            n_pulses=n_pulses * len(TIMES_S),
            n_events=counted,
            chi_square=chi_square,
            degrees=degrees,
            points=tuple(points),
            axis="time (min)",
            quantity="events per pulse",
        )
    ]
