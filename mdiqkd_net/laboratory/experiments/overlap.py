"""X error and visibility of laser pulses against the overlap of the users' modes.

Two phase-randomized laser pulses of few photons interfere with a visibility of M / 2, so that the
X error is 1/2 - M/4: 25 % at full overlap, not the few per cent that single photons would give.
The curve is measured at intensities where many-photon terms count, against the closed form of
`physics.expected`; the limit is a second route to it. Source: Ma & Razavi, PRA 86, 062319 (2012).
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.finding import Finding, of_curve, ratio_point
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics import expected

OVERLAPS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)


def link_at(overlap: float) -> Link:
    """Both users send x and y only."""
    user = UserLink(
        x=Setting(0.05, 0.85),
        y=Setting(0.3, 0.15),
        z=Setting(0.5, 0.0),
        length_km=0.0,
        attenuation_db_per_km=0.2,
        insertion_loss_db=10.0,
    )
    return Link(
        n_pulses=1,
        alice=user,
        bob=user,
        receiver=ReceiverParams(
            efficiency=0.8, dark_probability=1e-7, misalignment=0.0, mode_overlap=overlap
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """A finding for equal intensities x and one for y; their points share the light."""
    links = [light.at_level(link_at(overlap), level) for overlap in OVERLAPS]
    share = n_events // len(links)
    links = [
        msgspec.structs.replace(link, n_pulses=light.pulses_for(link, share)) for link in links
    ]
    counts = [light.run(link, (*seed, i)).counts for i, link in enumerate(links)]
    return [_curve(category, links, counts, level) for category in ("xx", "yy")]


def _curve(
    category: str, links: list[Link], counts: list[NDArray[np.int64]], level: str
) -> Finding:
    points = []
    n_events = 0
    for overlap, link, cells in zip(OVERLAPS, links, counts, strict=True):
        n = light.by_category(cells)[category]
        m = light.by_category(cells * light.wrong())[category]
        rate = expected.error_gains(link)[category] / expected.gains(link)[category]
        points.append(ratio_point(overlap, m, n, rate))
        n_events += int(n)
    return of_curve(
        experiment="overlap",
        case=category,
        level=level,
        n_pulses=sum(link.n_pulses for link in links),
        n_events=n_events,
        points=points,
        axis="mode overlap",
        quantity="X error rate",
    )
