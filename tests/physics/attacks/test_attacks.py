"""What each hostile relay does to gains, errors and keys; closed forms first, then the devices."""

import msgspec
import numpy as np
import pytest
from scipy.stats import chi2

from mdiqkd_net.blocks import Segment
from mdiqkd_net.devices.simulated import SimulatedReceiver
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.engine import estimate
from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.laboratory import light
from mdiqkd_net.laboratory.finding import multinomial_chi_square
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.attacks import ATTACKS
from mdiqkd_net.physics.attacks.scene import Scene, found_in_x, found_in_z
from mdiqkd_net.physics.attacks.time_selection import announces
from mdiqkd_net.physics.settings import SegmentSettings

FALSE_ALARM = 1e-6

USER = UserLink(
    x=Setting(0.04, 0.13),
    y=Setting(0.16, 0.024),
    z=Setting(0.5, 0.82),
    length_km=25.0,
    attenuation_db_per_km=0.2,
)
LINK = Link(
    n_pulses=10**12,
    alice=USER,
    bob=msgspec.structs.replace(USER, length_km=40.0),
    receiver=ReceiverParams(
        efficiency=0.4, dark_probability=1e-7, misalignment=0.005, mode_overlap=0.99
    ),
    eps_sec=1e-10,
    eps_cor=1e-15,
    f_ec=1.16,
    bell_states=("psi_minus", "psi_plus"),
)


def scene(link=LINK):
    optics = light.optics_of(link)
    alice, bob = optics.light
    return Scene(optics.receiver, optics.transmittances, (alice.amplitudes, bob.amplitudes))


def counts_of(patterns, link=LINK):
    cells = light.weighted(link, link.n_pulses, patterns.reshape(7, 7, 16))
    n, m = light.by_category(cells), light.by_category(cells * light.wrong())
    return Tallies(n_pulses=link.n_pulses, n=n, m=m)


def rates(tallies):
    return [tallies.m[c] / tallies.n[c] for c in ("zz", "xx")]


def key_of(tallies):
    return estimate(tallies, LINK.alice.source, LINK.bob.source, LINK.security)


@pytest.mark.parametrize("name", ATTACKS)
def test_patterns_are_probabilities_and_hide_in_the_z_gain(name):
    honest = counts_of(scene().honest)
    patterns = ATTACKS[name].patterns(scene())
    assert patterns.shape == (49, 16)
    assert patterns.min() >= 0.0
    np.testing.assert_allclose(patterns.sum(axis=1), 1.0, rtol=1e-12)
    if name != "efficiency_mismatch":
        assert counts_of(patterns).n["zz"] == pytest.approx(honest.n["zz"], rel=1e-9)


def test_the_honest_relay_gives_a_key():
    tallies = counts_of(scene().honest)
    predicted = expected.expected_counts(LINK)
    assert {c: tallies.n[c] for c in predicted} == pytest.approx(predicted, rel=1e-9)
    assert key_of(tallies).key_length_bits > 10**6


@pytest.mark.parametrize(
    ("name", "error_z", "error_x"),
    [
        ("z_only", 0.0, 0.5),
        ("dark_relay", 0.5, 0.5),
        ("photon_number", None, None),
        ("blinding", None, None),
        ("intercept_resend", None, None),
    ],
)
def test_attacks_that_touch_the_state_leave_no_key(name, error_z, error_x):
    tallies = counts_of(ATTACKS[name].patterns(scene()))
    if error_z is not None:
        # Weak pulses: what two photons of one user add stays below a few per cent.
        assert rates(tallies) == pytest.approx([error_z, error_x], abs=0.01)
    found = key_of(tallies)
    assert found.key_length_bits == 0
    assert found.reason


def test_single_photons_that_are_blinded_err_as_counted():
    """A third of z and a sixth of x, in the limit of faint pulses."""
    faint = msgspec.structs.replace(
        LINK,
        alice=msgspec.structs.replace(
            USER, x=Setting(1e-5, 0.3), y=Setting(2e-5, 0.3), z=Setting(1e-5, 0.3)
        ),
        bob=msgspec.structs.replace(
            USER, x=Setting(1e-5, 0.3), y=Setting(2e-5, 0.3), z=Setting(1e-5, 0.3)
        ),
    )
    tallies = counts_of(ATTACKS["blinding"].patterns(scene(faint)), faint)
    assert rates(tallies) == pytest.approx([1 / 3, 1 / 6], abs=1e-4)


def test_without_single_photon_pairs_z_looks_right():
    honest, attacked = (
        counts_of(p) for p in (scene().honest, ATTACKS["photon_number"].patterns(scene()))
    )
    assert rates(attacked)[0] == pytest.approx(rates(honest)[0], abs=1e-3)
    assert key_of(attacked).s11_lower == 0.0


def test_relays_that_only_choose_leave_a_good_key():
    """The key is shorter than the honest one, and not longer than its own truth allows."""
    honest = key_of(counts_of(scene().honest)).key_length_bits
    shifted = key_of(counts_of(ATTACKS["efficiency_mismatch"].patterns(scene())))
    assert 0 < shifted.key_length_bits < honest
    kept = announces(np.arange(10**6)).mean()
    assert kept == pytest.approx(0.3)


def test_measurements_find_what_was_sent():
    alice, _ = scene().light
    z, x = found_in_z(alice), found_in_x(alice)
    np.testing.assert_allclose(z.sum(axis=1), 1.0)
    np.testing.assert_allclose(x.sum(axis=1), 1.0)
    assert z[0].tolist() == [1.0, 0.0, 0.0]
    assert z[5, 1] == pytest.approx(-np.expm1(-0.5))
    assert z[5, 2] == 0.0
    assert x[2, 2] == pytest.approx(-np.expm1(-0.04))
    assert x[2, 1] == pytest.approx(0.0, abs=1e-15)
    assert z[1, 1] == pytest.approx(z[1, 2])


def attacked(name, **changes):
    """A short link with brighter decoys, for events of all kinds."""
    user = msgspec.structs.replace(
        USER, x=Setting(0.2, 0.3), y=Setting(0.5, 0.3), z=Setting(0.5, 0.3), length_km=5.0
    )
    receiver = msgspec.structs.replace(LINK.receiver, attack=name, **changes)
    return msgspec.structs.replace(
        LINK, alice=user, bob=user, receiver=receiver, n_pulses=3_000_000
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_the_device_shows_the_patterns_of_the_attack(name):
    """Chi-square of all pairs of states and patterns; false alarm 1e-6."""
    link = attacked(name)
    counts = light.run(link, (5,)).counts.astype(float)
    share = announces(np.arange(10**4)).mean() if name == "time_selection" else 1.0
    patterns = ATTACKS[name].patterns(scene(link)).reshape(7, 7, 16)
    mean = light.weighted(link, link.n_pulses, share * patterns)
    statistic, degrees = multinomial_chi_square(counts, mean)
    assert degrees > 20
    assert chi2.sf(statistic, degrees) > FALSE_ALARM


def test_time_selection_is_silent_outside_its_windows():
    link = attacked("time_selection")
    receiver = light.receiver_of(link, (1,))
    settings = SegmentSettings(b"a" * 32, link.alice.source)
    receiver.begin(Segment(0, 0, 5_000_000))
    pulses = []
    while (batch := receiver.next_candidates()) is not None:
        states = settings.states_at(batch.asked)
        pulses.append(receiver.detect(batch, states, states).pulses)
    assert np.concatenate(pulses).size > 1000
    assert announces(np.concatenate(pulses)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": "magic"}, "attack: found 'magic'; allowed: z_only, "),
        ({"attack": "z_only", "level": "click"}, "allowed: level 'coincidence' without dead time"),
        ({"attack": "z_only", "dead_time_s": 2e-8}, "without dead time"),
    ],
)
def test_receivers_that_cannot_be_attacked(changes, message):
    receiver = msgspec.structs.replace(LINK.receiver, **changes)
    with pytest.raises(DeviceError, match=message):
        light.receiver_of(msgspec.structs.replace(LINK, receiver=receiver), (1,))


def test_flawed_transmitters_are_not_attacked():
    flawed = msgspec.structs.replace(
        LINK.alice, transmitter=TransmitterParams(phase_randomization="discrete")
    )
    link = msgspec.structs.replace(attacked("z_only"), alice=flawed, bob=flawed)
    optics = light.optics_of(link)
    with pytest.raises(DeviceError, match="do not randomize their phase; allowed: ideal"):
        SimulatedReceiver(
            receiver=optics.receiver,
            transmittances=optics.transmittances,
            light=optics.light,
            phase=optics.phase,
            seed=1,
        )
