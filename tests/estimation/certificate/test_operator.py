"""The key lemma as a matrix inequality on true two-mode Fock states: W_a <= rho for every a.

Independent of any table of classes: all sixteen pairs of settings and all bits are averaged.
"""

import itertools
import math

import numpy as np
import pytest

from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT

MODES = {
    "z": (np.array([1.0, 0.0]), np.array([0.0, 1.0])),
    "x": (np.array([1.0, 1.0]) / math.sqrt(2), np.array([1.0, -1.0]) / math.sqrt(2)),
}
MODES["y"] = MODES["o"] = MODES["x"]


def fock(n, mode):
    """n photons in one superposition of two modes; basis |k, n - k>, shape (n + 1,)."""
    return np.array(
        [math.sqrt(math.comb(n, k)) * mode[0] ** k * mode[1] ** (n - k) for k in range(n + 1)]
    )


def projector(n, m, a, b):
    v = np.kron(fock(n, a), fock(m, b))
    return np.outer(v, v)


def operators(design, alice, bob, n, m, psi_plus):
    """Block (n, m) of the averaged signal state and of W for one announcement."""
    factor = {c: math.exp(design.theta * s / UNITS_PER_BIT) for c, s in design.scores}
    gain = {
        flag: math.exp(-design.theta * g / UNITS_PER_BIT)
        for flag, g in (("right", design.gain_right), ("wrong", design.gain_wrong))
    }
    size = (n + 1) * (m + 1)
    rho, w = np.zeros((size, size)), np.zeros((size, size))
    for (i, left), (j, right) in itertools.product(enumerate("oxyz"), repeat=2):
        weight = 1.0
        for source, k, photons in ((alice, i, n), (bob, j, m)):
            mu = source.intensities[k]
            weight *= source.probabilities[k] * math.exp(-mu) * mu**photons
        if weight == 0.0:
            continue
        single = left == right == "z" and n == m == 1
        basis = ("x", "x") if single else (left, right)  # z pairs steered by virtual X outcomes
        for bits in itertools.product((0, 1), repeat=2):
            state = (
                0.25 * weight * projector(n, m, MODES[basis[0]][bits[0]], MODES[basis[1]][bits[1]])
            )
            wrong = (bits[0] != bits[1]) if psi_plus else (bits[0] == bits[1])
            flag = "wrong" if wrong else "right"
            f = factor.get(left + right, factor.get(f"{left}{right}/{flag}", 1.0))
            rho += state
            w += state * f * (gain[flag] if single else 1.0)
    return rho, w


@pytest.mark.parametrize("psi_plus", [False, True])
@pytest.mark.parametrize("which", ["golden", "short"])
def test_dominance(golden, golden_design, short_link, loose_designs, which, psi_plus):
    case, design = {
        "golden": (golden, golden_design),
        "short": (short_link, loose_designs[0.05]),
    }[which]
    closest = -1.0
    for n, m in itertools.product(range(5), repeat=2):
        rho, w = operators(design, case.source, case.source, n, m, psi_plus)
        scale = np.linalg.norm(rho, 2)
        assert np.linalg.eigvalsh(w)[0] > -1e-13 * scale
        top = np.linalg.eigvalsh(w - rho)[-1] / scale
        assert top < 1e-13
        closest = max(closest, top)
    assert closest > -1e-7  # the inequality is used to the full


def test_more_score_breaks_dominance(short_link, loose_designs):
    from dataclasses import replace

    design = loose_designs[0.05]
    more = replace(
        design, scores=tuple((c, s + UNITS_PER_BIT * (c == "zz")) for c, s in design.scores)
    )
    worst = -1.0
    for n, m in itertools.product(range(3), repeat=2):
        rho, w = operators(more, short_link.source, short_link.source, n, m, False)
        worst = max(worst, np.linalg.eigvalsh(w - rho)[-1] / np.linalg.norm(rho, 2))
    assert worst > 1e-6
