import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.params import Setting, Source
from mdiqkd_net.physics import _kernels
from mdiqkd_net.physics.settings import SegmentSettings

KEY = bytes(range(32))
FALSE_ALARM = 1e-6


def source(x: float, y: float, z: float) -> Source:
    return Source(
        x=Setting(intensity=0.08, probability=x),
        y=Setting(intensity=0.30, probability=y),
        z=Setting(intensity=0.45, probability=z),
    )


USUAL = source(0.35, 0.15, 0.45)


def one_by_one(key: bytes, pulses, choices: Source) -> list[int]:
    """The definition, one pulse at a time: AES-256 of the pulse number, split by hand."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    o, x, y, _ = choices.probabilities
    states = []
    for pulse in pulses:
        word = struct.unpack("<QQ", encryptor.update(struct.pack("<QQ", pulse, 0)))[0]
        level, bit = (word >> 1) / 2**63, word & 1
        setting = (level >= o) + (level >= o + x) + (level >= o + x + y)
        states.append(2 * setting - 1 + bit if setting else 0)
    return states


@pytest.mark.parametrize("n", [0, 1, 8191, 8192, 20_000])
def test_states_follow_the_definition(n):
    pulses = np.random.default_rng(n).integers(0, 2**40, n)
    states = SegmentSettings(KEY, USUAL).states_at(pulses)
    assert states.dtype == np.uint8
    assert states.tolist() == one_by_one(KEY, pulses.tolist(), USUAL)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2**62), max_size=50), st.randoms(use_true_random=False))
def test_access_is_random(pulses, shuffler):
    chosen = SegmentSettings(KEY, USUAL)
    table = dict(zip(pulses, chosen.states_at(np.array(pulses, dtype=np.int64)), strict=True))
    again = pulses * 2
    shuffler.shuffle(again)
    states = chosen.states_at(np.array(again, dtype=np.int64))
    assert states.tolist() == [table[pulse] for pulse in again]


def test_frequencies_of_all_states_and_of_neighbors():
    """Chi-square of single states and of pairs of neighboring pulses; false alarm 1e-6 each."""
    n = 2_000_000
    states = SegmentSettings(KEY, USUAL).states_at(np.arange(n))
    o, x, y, z = USUAL.probabilities
    p = np.array([o, x / 2, x / 2, y / 2, y / 2, z / 2, z / 2])
    assert chisquare(np.bincount(states, minlength=7), n * p).pvalue > FALSE_ALARM
    pairs = np.bincount(7 * states[::2].astype(int) + states[1::2], minlength=49)
    assert chisquare(pairs, n / 2 * np.outer(p, p).ravel()).pvalue > FALSE_ALARM


def test_another_key_makes_independent_choices():
    """Joint chi-square of two users; false alarm 1e-6."""
    n = 1_000_000
    uniform = source(2 / 7, 2 / 7, 2 / 7)
    alice = SegmentSettings(KEY, uniform).states_at(np.arange(n))
    bob = SegmentSettings(KEY[::-1], uniform).states_at(np.arange(n))
    pairs = np.bincount(7 * alice.astype(int) + bob, minlength=49)
    assert chisquare(pairs).pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    ("choices", "allowed"),
    [
        (source(0.0, 0.0, 0.0), {0}),
        (source(1.0, 0.0, 0.0), {1, 2}),
        (source(0.0, 1.0, 0.0), {3, 4}),
        (source(0.0, 0.0, 1.0), {5, 6}),
        (source(0.1, 0.2, 0.7), {1, 2, 3, 4, 5, 6}),
        (source(0.7, 0.2, 0.0), {0, 1, 2, 3, 4}),
    ],
)
def test_settings_without_probability_never_come(choices, allowed):
    states = SegmentSettings(KEY, choices).states_at(np.arange(5000))
    assert set(states.tolist()) == allowed


def test_thresholds_leave_no_gap_at_either_end():
    words = np.array([[0, 0], [1, 0], [2**64 - 2, 0], [2**64 - 1, 0]], dtype=np.uint64)
    states = np.empty(4, dtype=np.uint8)
    top = 2**63
    _kernels.choose_states(words, np.array([0, 1, top], dtype=np.uint64), states)
    assert states.tolist() == [1, 2, 3, 4]
    _kernels.choose_states(words, np.array([top, top, top], dtype=np.uint64), states)
    assert states.tolist() == [0, 0, 0, 0]


def test_wiped_settings_refuse_and_the_key_is_gone():
    mine = bytearray(KEY)
    chosen = SegmentSettings(mine, USUAL)
    kept = chosen._key.view
    chosen.wipe()
    chosen.wipe()
    assert bytes(kept) == bytes(32)
    assert mine == KEY
    assert repr(chosen) == "SegmentSettings(wiped)"
    with pytest.raises(LocalProtocolError, match="wiped"):
        chosen.states_at(np.arange(3))


def test_the_key_does_not_print():
    text = repr(SegmentSettings(KEY, USUAL)) + str(SegmentSettings(KEY, USUAL))
    assert text == "SegmentSettings(ready)" * 2


@pytest.mark.parametrize("n", [0, 16, 31, 33])
def test_keys_of_another_length_are_refused_without_showing_them(n):
    with pytest.raises(LocalProtocolError, match=f"found {n} bytes; allowed: exactly 32"):
        SegmentSettings(b"k" * n, USUAL)


@pytest.mark.parametrize(
    ("pulses", "word"),
    [
        (np.array([3, -1]), "found -1"),
        (np.zeros((2, 2), dtype=np.int64), "shape"),
        (np.zeros(2, dtype=np.int32), "int32"),
    ],
)
def test_what_is_not_a_pulse_number_is_refused(pulses, word):
    with pytest.raises(LocalProtocolError, match=word):
        SegmentSettings(KEY, USUAL).states_at(pulses)
