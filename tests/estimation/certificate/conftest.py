"""An own table of classes, photon number by photon number, and links to make designs for."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT
from mdiqkd_net.estimation.certificate.search import design_certificate
from mdiqkd_net.params import Link, ReceiverParams, Security, Setting, UserLink
from mdiqkd_net.physics import expected


@dataclass
class Prediction:
    """What a link is expected to count, all sixteen pairs of settings."""

    link: Link
    n_pulses: float
    n: dict
    m: dict

    @property
    def source(self):
        return self.link.alice.source


def predict(km, n_pulses, mu, p, receiver=(0.8, 1e-8, 0.01), f_ec=1.1):
    settings = {k: Setting(m, q) for k, m, q in zip("xyz", mu, p, strict=True)}
    user = UserLink(**settings, length_km=km / 2, attenuation_db_per_km=0.2)
    link = Link(
        n_pulses=int(n_pulses),
        alice=user,
        bob=user,
        receiver=ReceiverParams(
            efficiency=receiver[0],
            dark_probability=receiver[1],
            misalignment=receiver[2],
            mode_overlap=1.0,
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=f_ec,
        bell_states=("psi_minus", "psi_plus"),
    )
    counts, errors = expected.expected_counts(link), expected.expected_errors(link)
    return Prediction(link, n_pulses, counts, errors)


@pytest.fixture(scope="session")
def prediction():
    return predict


@pytest.fixture(scope="session")
def golden():
    """50 km, all inputs fixed: a case that an independent program has computed, too."""
    return predict(
        50, 1e12, (0.04, 0.16, 0.5), (0.13, 0.024, 0.82), receiver=(0.4, 1e-7, 0.015), f_ec=1.16
    )


@pytest.fixture(scope="session")
def golden_design(golden):
    return design_certificate(golden, golden.source, golden.source, golden.link.security)


@pytest.fixture(scope="session")
def short_link():
    """Both users next to the relay, few pulses: failures can be counted."""
    return predict(0, 3e5, (0.1, 0.35, 0.5), (0.35, 0.15, 0.45))


def eps_sec_for(p_fail):
    return 4.0 * math.sqrt(p_fail)


@pytest.fixture(scope="session")
def loose_designs(short_link):
    """Designs whose bound may fail with 5 % and with 1 %."""
    source = short_link.source
    return {
        p: design_certificate(short_link, source, source, Security(eps_sec=eps_sec_for(p)))
        for p in (0.05, 0.01)
    }


@dataclass
class Table:
    """A class of pulse pairs: probability of each category, and of all settings together.

    Attributes:
        name: (n, basis, m, basis, flag).
        q: By category of the design.
        total: Including settings whose events are not used.
        score: Bits that an event adds to the sum of scores, by category.
        gain: Bits that an event adds to G, by category: those of z-z single-photon pairs.
        theta: Of the design.
    """

    name: tuple
    q: np.ndarray
    total: float
    score: np.ndarray
    gain: np.ndarray
    theta: float

    @property
    def factor(self):
        return np.exp(self.theta * (self.score - self.gain))

    @property
    def excess(self):
        """E[factor] - 1 given that the class is announced as a success."""
        return float(self.q @ np.expm1(self.theta * (self.score - self.gain))) / self.total

    @property
    def variance(self):
        """Of the logarithm of the factor."""
        log = self.theta * (self.score - self.gain)
        return float(self.q @ log**2) / self.total - (float(self.q @ log) / self.total) ** 2


def emission(source, n, basis):
    """Probability that each setting is chosen and emits n photons, up to a common factor."""
    weight = {}
    for letter, mu, p in zip("oxyz", source.intensities, source.probabilities, strict=True):
        allowed = n < 2 or letter in {"X": "xy", "Z": "z"}[basis]
        if allowed and (mu > 0 or n == 0):
            # Photon number as a logarithm: n may be large. Common factors cancel.
            log = -mu + (n * math.log(mu) if mu > 0 else 0.0) - math.lgamma(n + 1)
            weight[letter] = p * math.exp(log + math.lgamma(n + 1))
    return weight


def tables(design, alice, bob, n_max):
    """Every class up to n_max photons on either side, without use of the code under test."""
    names = [c for c, _ in design.scores]
    score = np.array([s / UNITS_PER_BIT for _, s in design.scores])
    numbers = [(n, basis) for n in range(n_max + 1) for basis in ("XZ" if n >= 2 else "-")]
    found = []
    for n, first in numbers:
        for m, second in numbers:
            u, v = emission(alice, n, first), emission(bob, m, second)
            if not u or not v:
                continue
            unit = max(u.values()) * max(v.values())
            in_x = n > 0 and m > 0 and "Z" not in (first, second)
            for flag in ("right", "wrong") if in_x else ("coin",):
                q, gain = np.zeros(len(names)), np.zeros(len(names))
                for i, name in enumerate(names):
                    share = 1.0
                    if "/" in name:
                        share = 0.5 if flag == "coin" else float(name.endswith(flag))
                    q[i] = share * u.get(name[0], 0.0) * v.get(name[1], 0.0) / unit
                    if name == "zz" and n == m == 1:
                        units = design.gain_right if flag == "right" else design.gain_wrong
                        gain[i] = units / UNITS_PER_BIT
                total = sum(u.values()) * sum(v.values()) / unit
                if q.any():
                    name = (n, first, m, second, flag)
                    found.append(Table(name, q, total, score, gain, design.theta))
    return found


@pytest.fixture(scope="session")
def class_tables():
    return tables
