import numpy as np
import pytest

from mdiqkd_net.blocks import setting_of
from mdiqkd_net.params import Setting, Source
from mdiqkd_net.physics.time_bin import light_table

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
