import numpy as np
import pytest

from mdiqkd_net.blocks import setting_of
from mdiqkd_net.imperfections import AngleError, AngleErrors, TransmitterParams
from mdiqkd_net.params import Setting, Source
from mdiqkd_net.physics.encodings import ENCODINGS, light_table

SOURCE = Source(
    x=Setting(intensity=0.08, probability=0.35),
    y=Setting(intensity=0.30, probability=0.15),
    z=Setting(intensity=0.45, probability=0.45),
)


def test_every_state_carries_the_intensity_of_its_setting():
    photons = (np.abs(light_table(SOURCE)) ** 2).sum(axis=1)
    settings = setting_of(np.arange(7, dtype=np.uint8))
    np.testing.assert_allclose(photons, np.array(SOURCE.intensities)[settings], rtol=1e-14)


def test_z_states_fill_one_bin_each():
    light = light_table(SOURCE)
    assert np.flatnonzero(light[5]) == [0]
    assert np.flatnonzero(light[6]) == [1]


@pytest.mark.parametrize("bit_0", [1, 3])
def test_x_states_are_even_superpositions_of_opposite_sign(bit_0):
    light = light_table(SOURCE)
    np.testing.assert_allclose(light[bit_0, 0], light[bit_0, 1])
    np.testing.assert_allclose(light[bit_0 + 1, 0], -light[bit_0 + 1, 1])
    assert abs(np.vdot(light[bit_0], light[bit_0 + 1])) < 1e-16


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_the_same_bases_to_the_receiver(name):
    """|<a|b>| of all pairs of states, and z in the receiver's own modes: sifting needs no more."""
    light, known = light_table(SOURCE, name), light_table(SOURCE)
    np.testing.assert_allclose(
        np.abs(light.conj() @ light.T), np.abs(known.conj() @ known.T), atol=1e-15
    )
    np.testing.assert_allclose(np.abs(light[5:]), np.abs(known[5:]), atol=1e-15)
    # x0 and x1 are real and opposite superpositions, as psi_minus and psi_plus need them.
    for row in range(1, 5):
        sign = 1 if row % 2 else -1
        assert light[row, 1] / light[row, 0] == pytest.approx(sign, abs=1e-15)


@pytest.mark.parametrize("name", ENCODINGS)
def test_optics_of_the_relay_are_unitary(name):
    u = ENCODINGS[name].to_receiver
    np.testing.assert_allclose(u @ u.conj().T, np.eye(2), atol=1e-15)


def test_a_mode_extinction_leaves_that_part_in_the_dark_mode():
    modes = ENCODINGS["time_bin"].modes(TransmitterParams(mode_extinction_db=20.0))
    photons = np.abs(modes) ** 2
    assert photons[5, 1] / photons[5, 0] == pytest.approx(0.01)
    assert photons[6, 0] / photons[6, 1] == pytest.approx(0.01)
    np.testing.assert_allclose(photons.sum(axis=1), 1.0)
    np.testing.assert_allclose(photons[:5], 0.5)


def test_angles_are_those_of_the_encoders_sphere():
    errors = AngleErrors(z0=AngleError(polar_rad=0.2, azimuth_rad=0.7))
    mode = ENCODINGS["polarization"].modes(TransmitterParams(angle_errors=errors))[5]
    assert mode[0] == pytest.approx(np.cos(0.1))
    assert mode[1] == pytest.approx(np.sin(0.1) * np.exp(0.7j))
