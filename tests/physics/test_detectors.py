import numpy as np
import pytest

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.physics.detectors import DETECTORS


@pytest.mark.parametrize("name", DETECTORS)
def test_clicks_without_light_are_dark_and_bright_light_always_clicks(name):
    detector = DETECTORS[name](0.4, 1e-7)
    dark, bright = detector.click_probability(np.array([0.0, 1e4]))
    assert dark == 1e-7
    assert bright == 1.0


@pytest.mark.parametrize("name", DETECTORS)
def test_faint_light_keeps_its_relative_precision(name):
    photons = 1e-14
    chance = DETECTORS[name](0.5, 0.0).click_probability(np.array([photons]))
    np.testing.assert_allclose(chance, 0.5 * photons, rtol=1e-12)


@pytest.mark.parametrize("name", DETECTORS)
def test_silence_of_two_detectors_depends_on_their_total_light_alone(name):
    detector = DETECTORS[name](0.7, 0.01)
    share = np.linspace(0.0, 1.0, 11)
    silence = (1 - detector.click_probability(2.0 * share)) * (
        1 - detector.click_probability(2.0 * (1 - share))
    )
    np.testing.assert_allclose(silence, 0.99**2 * np.exp(-1.4), rtol=1e-12)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(
    ("efficiency", "dark", "word"),
    [(1.1, 0.0, "efficiency: found 1.1"), (0.5, -1e-9, "dark_probability"), (0.5, np.nan, "nan")],
)
def test_numbers_that_are_no_probabilities_are_refused(name, efficiency, dark, word):
    with pytest.raises(DeviceError, match=word):
        DETECTORS[name](efficiency, dark)
