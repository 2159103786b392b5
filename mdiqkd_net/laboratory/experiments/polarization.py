"""Z and X error against an uncorrected turn of the polarization in Bob's fiber.

A turn by δ about an axis that the basis is not on makes an error sin²(δ/2) of the single photons of
that basis, on top of what laser pulses have anyway. The turn is about x of the Bloch sphere here,
which leaves X alone.
"""

import msgspec

from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.finding import Finding, of_curve, ratio_point
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics import expected

TURNS_RAD = (0.0, 0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.14)


def link_at(turn_rad: float) -> Link:
    """Polarization encoding, 10 dB in each arm."""
    user = UserLink(
        x=Setting(0.05, 0.2),
        y=Setting(0.2, 0.4),
        z=Setting(0.2, 0.4),
        length_km=0.0,
        attenuation_db_per_km=0.2,
        insertion_loss_db=10.0,
        transmitter=TransmitterParams(encoding="polarization"),
    )
    return Link(
        n_pulses=1,
        alice=user,
        bob=msgspec.structs.replace(user, polarization_rotation_rad=(turn_rad, 0.0, 0.0)),
        receiver=ReceiverParams(
            efficiency=0.8, dark_probability=1e-7, misalignment=0.0, mode_overlap=1.0
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """A finding for z with z and one for y with y; their points share the light."""
    runs = []
    for i, turn_rad in enumerate(TURNS_RAD):
        link = light.at_level(link_at(turn_rad), level)
        n = light.pulses_for(link, n_events // len(TURNS_RAD))
        link = msgspec.structs.replace(link, n_pulses=n)
        runs.append((turn_rad, link, light.run(link, (*seed, i)).counts))
    findings = []
    for category in ("zz", "yy"):
        points, counted = [], 0
        for turn_rad, link, cells in runs:
            n_counted = light.by_category(cells)[category]
            errors = light.by_category(cells * light.wrong())[category]
            rate = expected.error_gains(link)[category] / expected.gains(link)[category]
            points.append(ratio_point(turn_rad, errors, n_counted, rate))
            counted += int(n_counted)
        findings.append(
            of_curve(
                experiment="polarization",
                case=category,
                level=level,
                n_pulses=sum(link.n_pulses for _, link, _ in runs),
                n_events=counted,
                points=points,
                axis="turn of the Poincaré sphere (rad)",
                quantity="error rate",
            )
        )
    return findings
