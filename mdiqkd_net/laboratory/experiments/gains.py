"""Gains and errors of all pairs of settings at 20, 30 and 40 dB, against the closed form.

The statistic is stricter than the table: all 49 pairs of states times all nine patterns.
"""

import msgspec
import numpy as np

from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.finding import Finding, Row, multinomial_chi_square
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics import expected

LOSSES_DB = (20.0, 30.0, 40.0)
"""Of both arms together."""


def run(seed: light.Seed, n_events: int, level: str) -> list[Finding]:
    """One finding per loss."""
    return [_at(loss_db, (*seed, i), n_events, level) for i, loss_db in enumerate(LOSSES_DB)]


def link_at(loss_db: float) -> Link:
    """A link with unequal arms and unequal settings: symmetry would hide mistakes."""
    settings = (
        (Setting(0.08, 0.30), Setting(0.30, 0.20), Setting(0.45, 0.40)),
        (Setting(0.12, 0.25), Setting(0.45, 0.25), Setting(0.50, 0.40)),
    )
    alice, bob = (
        UserLink(
            x=x,
            y=y,
            z=z,
            length_km=0.0,
            attenuation_db_per_km=0.2,
            insertion_loss_db=0.5 * loss_db + more_db,
        )
        for (x, y, z), more_db in zip(settings, (-1.0, 1.0), strict=True)
    )
    return Link(
        n_pulses=1,
        alice=alice,
        bob=bob,
        receiver=ReceiverParams(
            efficiency=0.8, dark_probability=2e-6, misalignment=0.015, mode_overlap=0.97
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )


def _at(loss_db: float, seed: light.Seed, n_events: int, level: str) -> Finding:
    link = light.at_level(link_at(loss_db), level)
    link = msgspec.structs.replace(link, n_pulses=light.pulses_for(link, n_events))
    tally = light.run(link, seed)
    chi_square, degrees = multinomial_chi_square(
        tally.counts.astype(np.float64), light.expected_counts(link)
    )
    counted = light.by_category(tally.counts)
    wrong = light.by_category(tally.counts * light.wrong())
    n, m = expected.expected_counts(link), expected.expected_errors(link)
    rows = [Row(f"{c} events", counted[c], n[c]) for c in n]
    rows += [Row(f"{c} errors", wrong[c], m[c]) for c in m]
    return Finding(
        experiment="gains",
        case=f"{loss_db:g} dB",
        level=level,
        n_pulses=link.n_pulses,
        n_events=int(tally.counts.sum()),
        chi_square=chi_square,
        degrees=degrees,
        rows=tuple(rows),
    )
