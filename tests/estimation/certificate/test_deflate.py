"""Deflation turns designs that are feasible up to rounding into feasible ones."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.estimation.certificate.check import InvalidDesignError, check_design
from mdiqkd_net.estimation.certificate.deflate import deflate
from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT, Design, units_down
from mdiqkd_net.estimation.certificate.scope import SourceBox
from mdiqkd_net.estimation.certificate.search import _program

NAMES = (
    "oo", "ox", "oy", "oz", "xo", "yo", "zo", "zz", "xx/right", "xx/wrong", "xy/right",
    "xy/wrong", "yx/right", "yx/wrong", "yy/right", "yy/wrong",
)  # fmt: skip


def gains_of(e):
    """Bits of a single-photon pair without and with a phase error: 1 + log2(1 - e), log2(2 e)."""
    return 1.0 + math.log2(1.0 - e), 1.0 + math.log2(e)


def vertex(box, theta, e, rng):
    """A vertex of the polytope for a random objective: many constraints hold with equality."""
    program = _program(box, box, NAMES)
    gains = np.array([0.0, *gains_of(e)])[program.tilt]
    matrix = program.matrix.copy()
    zz = NAMES.index("zz")
    matrix[:, zz] *= np.exp(-theta * gains)
    limit = -program.matrix[:, zz] * np.expm1(-theta * gains)
    found = linprog(-rng.random(16), A_ub=matrix, b_ub=limit, bounds=(-0.9, 50.0))
    assert found.status == 0
    return found.x


def test_vertices_violate_by_rounding_and_deflation_mends_them(golden):
    rng = np.random.default_rng(5)
    box = SourceBox.of(golden.source)
    refused = 0
    for _ in range(12):
        theta, e = float(10 ** rng.uniform(-5, -1)), float(rng.uniform(0.02, 0.3))
        w = vertex(box, theta, e, rng)
        right, wrong = gains_of(e)
        gains = units_down(right) - 9, units_down(wrong) - 9
        scores = {c: units_down(math.log1p(v) / theta) for c, v in zip(NAMES, w, strict=True)}

        def design(scores, theta=theta, gains=gains):
            offset = math.ceil(2 * math.log(4e10) / theta * (1 + 1e-12) * UNITS_PER_BIT)
            return Design(box, box, 1e-10, theta, *gains, tuple(scores.items()), offset)

        try:
            check_design(design(scores).canonical())
        except InvalidDesignError:
            refused += 1
        mended = deflate(box, box, theta, gains, scores)
        check_design(design(mended).canonical())
        lowered = (scores["zz"] - mended["zz"]) / UNITS_PER_BIT * theta
        assert 0 <= lowered < 1e-5
    assert refused > 4


def test_what_is_feasible_stays(golden_design):
    scores = dict(golden_design.scores)
    again = deflate(
        golden_design.alice,
        golden_design.bob,
        golden_design.theta,
        (golden_design.gain_right, golden_design.gain_wrong),
        scores,
    )
    assert again == scores


def test_nonsense_is_given_up(golden_design):
    scores = {c: 2**108 for c, _ in golden_design.scores}
    with pytest.raises(LocalProtocolError, match="infeasible"):
        deflate(golden_design.alice, golden_design.bob, 1e-15, (0, -(2**48)), scores)
