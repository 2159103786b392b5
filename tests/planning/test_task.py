"""The search for settings sees what earlier pulses do to later ones."""

import msgspec
import pytest

from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.imperfections import PatternEffect, TransmitterParams
from mdiqkd_net.params import Link, ReceiverParams, Setting, Source, UserLink
from mdiqkd_net.planning.task import Task, answer, at, key_bits


def link_of(transmitter=None, **receiver) -> Link:
    user = UserLink(
        x=Setting(0.04, 0.13),
        y=Setting(0.16, 0.024),
        z=Setting(0.5, 0.82),
        length_km=40.0,
        attenuation_db_per_km=0.2,
        transmitter=transmitter or TransmitterParams(),
    )
    return Link(
        n_pulses=10**12,
        alice=user,
        bob=user,
        receiver=ReceiverParams(
            efficiency=0.8,
            dark_probability=1e-8,
            misalignment=0.01,
            mode_overlap=1.0,
            **receiver,
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
        pulse_rate_hz=1e9,
    )


LINKS = {
    "ideal": link_of(),
    "dead time": link_of(dead_time_s=20e-9),
    "pattern effect": link_of(TransmitterParams(pattern_effect=PatternEffect(x=0.3, z=-0.2))),
}


@pytest.mark.parametrize("name", LINKS)
def test_settings_are_worth_the_same_whatever_was_tried_before(name):
    link = LINKS[name]
    source = link.alice.source
    rarer = msgspec.structs.replace(source, z=Setting(0.5, 0.5))
    worth = key_bits(link, Analysis())
    first, second = (worth(s, s, 1e12) for s in (source, rarer))
    assert first != second
    assert second == key_bits(link, Analysis())(rarer, rarer, 1e12)
    # ... and as much as a prediction says, which rounds to whole bits.
    found = answer(at(link, rarer, rarer), Task(analysis=Analysis()))
    assert second == pytest.approx(found["key_length_bits"], abs=2.0)


def test_dead_time_has_settings_of_its_own():
    """Light makes detectors dead: with less of it there is more key than at the ideal optimum."""
    dead = LINKS["dead time"]
    found = {
        name: answer(LINKS[name], Task(analysis=Analysis(), optimize=True))
        for name in ("ideal", "dead time")
    }
    settings = {
        name: [msgspec.convert(result["settings"][user], Source) for user in ("alice", "bob")]
        for name, result in found.items()
    }
    unaware = answer(at(dead, *settings["ideal"]), Task(analysis=Analysis()))
    assert settings["dead time"][0].z.intensity < settings["ideal"][0].z.intensity
    assert found["dead time"]["key_length_bits"] > 2 * unaware["key_length_bits"]
    assert found["dead time"]["key_length_bits"] < found["ideal"]["key_length_bits"]
