"""The dip of Hong, Ou and Mandel, of laser pulses: both detectors together, against the delay.

Two phase-randomized pulses of equal mean photon number meet with a delay. The more they overlap,
the more their photons leave together, and the fewer coincidences of the two detectors there are
within a bin: half are left, since laser pulses also bring two photons from one side. Source: Hong,
Ou & Mandel, PRL 59, 2044 (1987); for lasers, Rarity, Tapster & Loudon, J. Opt. B 7, S171 (2005).
"""

import msgspec

from mdiqkd_net.blocks import EARLY_0, EARLY_1
from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.finding import Finding, of_curve, ratio_point
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink

DELAYS_PS = (-400.0, -200.0, -100.0, -50.0, 0.0, 50.0, 100.0, 200.0, 400.0)
WIDTH_PS = 150.0

_BOTH_EARLY = [p for p in range(16) if p & (EARLY_0 | EARLY_1) == EARLY_0 | EARLY_1]


def link_at(delay_ps: float) -> Link:
    """Both users send y alone, 0.1 photons in each bin at the relay; Bob's pulses are late."""

    def user(delay_ps: float) -> UserLink:
        return UserLink(
            x=Setting(0.1, 0.0),
            y=Setting(0.2, 1.0),
            z=Setting(0.5, 0.0),
            length_km=0.0,
            attenuation_db_per_km=0.2,
            transmitter=TransmitterParams(pulse_width_ps=WIDTH_PS, delay_ps=delay_ps),
        )

    return Link(
        n_pulses=1,
        alice=user(0.0),
        bob=user(delay_ps),
        receiver=ReceiverParams(
            efficiency=0.8, dark_probability=1e-6, misalignment=0.0, mode_overlap=1.0
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """The dip: share of the events in which both detectors clicked early."""
    points = []
    n_pulses = counted = 0
    for i, delay_ps in enumerate(DELAYS_PS):
        link = light.at_level(link_at(delay_ps), level)
        n = light.pulses_for(link, n_events // len(DELAYS_PS))
        link = msgspec.structs.replace(link, n_pulses=n)
        cells, mean = light.run(link, (*seed, i)).counts, light.expected_counts(link)
        share = float(mean[:, :, _BOTH_EARLY].sum() / mean.sum())
        part, whole = int(cells[:, :, _BOTH_EARLY].sum()), int(cells.sum())
        points.append(ratio_point(delay_ps, part, whole, share))
        n_pulses += link.n_pulses
        counted += whole
    return [
        of_curve(
            experiment="hom_dip",
            case=f"pulses of {WIDTH_PS:g} ps",
            level=level,
            n_pulses=n_pulses,
            n_events=counted,
            points=points,
            axis="delay (ps)",
            quantity="both detectors early, share of events",
        )
    ]
