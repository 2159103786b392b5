import math

import pytest

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy, efficiency


@pytest.mark.parametrize(("p", "h"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.25, 0.8112781245)])
def test_binary_entropy(p, h):
    assert math.isclose(binary_entropy(p), h, abs_tol=1e-10)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_binary_entropy_has_a_domain(p):
    with pytest.raises(LocalProtocolError, match="allowed: 0 to 1"):
        binary_entropy(p)


def test_efficiency_is_relative_to_the_shannon_limit():
    assert efficiency(500, 1000, 0.5) == 0.5
    assert efficiency(0, 1000, 0.0) == 1.0
    assert efficiency(3, 1000, 0.0) == math.inf
