"""Counts with a known truth: the benchmark link, and channels given class by class."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from mdiqkd_net.blocks import SETTINGS, Counts
from mdiqkd_net.estimation.decoy import NEEDED, Tallies
from mdiqkd_net.params import Link, ReceiverParams, Setting, Source, UserLink
from mdiqkd_net.physics import expected


def symmetric(x=0.04, y=0.16, z=0.5, p=(0.13, 0.024, 0.82)):
    return Source(x=Setting(x, p[0]), y=Setting(y, p[1]), z=Setting(z, p[2]))


@dataclass
class Benchmark:
    """50 km of fiber at 0.2 dB/km; a case that an independent program has computed, too."""

    link: Link
    source: Source
    tallies: Tallies


@pytest.fixture(scope="session")
def benchmark_case():
    user = UserLink(
        x=Setting(0.04, 0.13),
        y=Setting(0.16, 0.024),
        z=Setting(0.5, 0.82),
        length_km=25.0,
        attenuation_db_per_km=0.2,
    )
    link = Link(
        n_pulses=10**12,
        alice=user,
        bob=user,
        receiver=ReceiverParams(
            efficiency=0.4, dark_probability=1e-7, misalignment=0.015, mode_overlap=1.0
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )
    tallies = Tallies(
        n_pulses=link.n_pulses,
        n=expected.expected_counts(link),
        m=expected.expected_errors(link),
    )
    return Benchmark(link, user.source, tallies)


@dataclass
class Channel:
    """What Eve can choose: a yield and an error rate for every pair of photon numbers.

    `y` and `e` have shape (n_max + 1, n_max + 1); she blocks pulses with more photons. Vacuum on
    either side makes the bits unrelated, whatever `e` says. Single-photon pairs cannot tell the
    bases apart; the other pairs of basis z get the yields of basis x.
    """

    y: np.ndarray
    e: np.ndarray
    qber_z: float = 0.01

    def __post_init__(self):
        self.e = self.e.copy()
        self.e[0, :] = self.e[:, 0] = 0.5

    @property
    def y11(self):
        return float(self.y[1, 1])

    @property
    def e11(self):
        return float(self.e[1, 1])

    def photons(self, mean):
        return np.array([math.exp(-mean) * mean**n / math.factorial(n) for n in range(len(self.y))])

    def parts(self, alice, bob, category):
        """Probability of an event by photon numbers, per pulse pair of the category."""
        i, j = SETTINGS.index(category[0]), SETTINGS.index(category[1])
        return (
            np.outer(self.photons(alice.intensities[i]), self.photons(bob.intensities[j])) * self.y
        )

    def expected(self, alice, bob, n_pulses):
        n, m = {}, {}
        for category in NEEDED:
            pairs = n_pulses * pair_probability(alice, bob, category)
            parts = self.parts(alice, bob, category)
            n[category] = float(pairs * parts.sum())
            m[category] = float(pairs * (parts * self.e).sum())
        m["zz"] = self.qber_z * n["zz"]
        return Tallies(n_pulses, n, m)

    def draw(self, alice, bob, n_pulses, rng):
        """One block: its counts, and the single-photon pairs and phase errors of basis z."""
        n, m = {}, {}
        n11 = 0
        for category in NEEDED:
            pairs = n_pulses * pair_probability(alice, bob, category)
            drawn = rng.poisson(pairs * self.parts(alice, bob, category))
            n[category] = int(drawn.sum())
            m[category] = int(rng.binomial(drawn, self.e).sum())
            if category == "zz":
                n11 = int(drawn[1, 1])
        m["zz"] = int(rng.binomial(n["zz"], self.qber_z))
        return Counts(n_pulses, n, m), n11, int(rng.binomial(n11, self.e11))


def pair_probability(alice, bob, category):
    i, j = SETTINGS.index(category[0]), SETTINGS.index(category[1])
    return alice.probabilities[i] * bob.probabilities[j]


@pytest.fixture(scope="session")
def channel():
    return Channel


@pytest.fixture(scope="session")
def make_source():
    return symmetric
