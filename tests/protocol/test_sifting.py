"""Sifting against a plain loop, and the flip rules against the singlet and the triplet."""

import numpy as np
import pytest

from mdiqkd_net.blocks import BELL_STATES, CATEGORIES, PSI_MINUS, PSI_PLUS, SETTINGS
from mdiqkd_net.protocol.sifting import errors_of_test, sift

NAMES = ("o", "x0", "x1", "y0", "y1", "z0", "z1")


def plain(alice, bob, outcomes, accepted):
    """The rules of the protocol, one event at a time."""
    n, m, key = dict.fromkeys(CATEGORIES, 0), dict.fromkeys(("xx", "xy", "yx", "yy"), 0), []
    for a, b, outcome in zip(alice, bob, outcomes, strict=True):
        if BELL_STATES[outcome] not in accepted:
            continue
        category = NAMES[a][0] + NAMES[b][0]
        n[category] += 1
        if category in m:
            same = NAMES[a][1] == NAMES[b][1]
            m[category] += same if outcome == PSI_MINUS else not same
        if category == "zz":
            key.append((int(NAMES[a][1]), 1 - int(NAMES[b][1])))
    return n, m, key


@pytest.mark.parametrize("accepted", [BELL_STATES, BELL_STATES[:1], BELL_STATES[1:]])
def test_both_users_sift_like_the_plain_rules(accepted):
    rng = np.random.default_rng(4)
    alice, bob = rng.integers(0, 7, (2, 3000)).astype(np.uint8)
    outcomes = rng.integers(0, 2, 3000).astype(np.uint8)
    settings = [np.array([SETTINGS.index(NAMES[s][0]) for s in states]) for states in (alice, bob)]
    ours = sift(alice, outcomes, settings[1].astype(np.uint8), is_alice=True, bell_states=accepted)
    theirs = sift(bob, outcomes, settings[0].astype(np.uint8), is_alice=False, bell_states=accepted)
    n, m, key = plain(alice, bob, outcomes, accepted)
    assert ours.n == theirs.n == n
    assert errors_of_test(ours, theirs.test_bits) == m
    assert errors_of_test(theirs, ours.test_bits) == m
    assert list(zip(ours.key_bits.tolist(), theirs.key_bits.tolist(), strict=True)) == key


def bell(outcome):
    """Amplitudes of psi-minus or psi-plus in the basis of time bins, indices (alice, bob)."""
    sign = {PSI_MINUS: -1, PSI_PLUS: 1}[outcome]
    return np.array([[0, 1], [sign, 0]]) / np.sqrt(2)


@pytest.mark.parametrize("outcome", [PSI_MINUS, PSI_PLUS])
@pytest.mark.parametrize("basis", ["z", "x"])
def test_single_photons_make_no_error_under_the_flip_rules(outcome, basis):
    """Derived from <psi|a b>, not assumed: which bit pairs can give the outcome at all."""
    vectors = {"z": np.eye(2), "x": np.array([[1, 1], [1, -1]]) / np.sqrt(2)}[basis]
    first = {"z": 5, "x": 1}[basis]
    for a in (0, 1):
        for b in (0, 1):
            chance = abs(vectors[a] @ bell(outcome) @ vectors[b]) ** 2
            if chance < 1e-12:
                continue
            alice, bob = np.array([[first + a], [first + b]], np.uint8)
            seen = np.array([outcome], np.uint8)
            setting = np.array([SETTINGS.index(basis)], np.uint8)
            ours = sift(alice, seen, setting, is_alice=True, bell_states=BELL_STATES)
            theirs = sift(bob, seen, setting, is_alice=False, bell_states=BELL_STATES)
            np.testing.assert_array_equal(ours.key_bits, theirs.key_bits)
            assert sum(errors_of_test(ours, theirs.test_bits).values()) == 0


def test_no_events_sift_to_nothing():
    none = np.empty(0, np.uint8)
    sifted = sift(none, none, none, is_alice=True, bell_states=BELL_STATES)
    assert set(sifted.n.values()) == {0}
    assert sifted.key_bits.size == 0
