import itertools
import math

import numpy as np
import pytest
from cascades import FRAME, SEED, pair, run
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile import RECONCILERS, _kernels
from mdiqkd_net.postprocessing.reconcile.cascade import MAX_ROUNDS, Cascade, CascadeLowRounds
from mdiqkd_net.postprocessing.reconcile.parameters import (
    TABLE,
    Schedule,
    schedule_for,
)

# The most that the profile may leak on average, as measured over 3000 frames (see the explanation
# page), plus 0.007: the mean of 48 frames scatters by 0.0013 at 0.5 % and by 0.0005 at 5 %, so this
# is five standard deviations and more.
LIMITS = [(0.005, 1.042), (0.01, 1.042), (0.02, 1.042), (0.03, 1.047), (0.05, 1.057), (0.08, 1.077)]


@pytest.mark.parametrize(("qber", "f_limit"), LIMITS)
def test_frames_become_equal_at_a_small_leak(qber, f_limit):
    n_frames = 48
    n = n_frames * FRAME
    alice, errors, a, b = pair(n, qber, np.random.default_rng(int(qber * 1000)))
    run(a, b)
    # A frame keeps an error with a probability below 5 % (one of passes 1 to 3 has missed a
    # pattern) times 2^-16 (so do all checks), 8e-7: two frames of 48 do so with less than 1e-9.
    wrong = np.unique(np.flatnonzero(alice != b.bits) // FRAME)
    assert wrong.size <= 1
    f = a.leak_bits / (n * binary_entropy(float(errors.mean())))
    assert 1.0 < f < f_limit
    assert a.rounds < MAX_ROUNDS


@pytest.mark.parametrize("qber", [0.005, 0.02, 0.08])
def test_the_other_profile_saves_rounds_and_leaks_more(qber):
    n = 16 * FRAME
    alice, errors, a, b = pair(n, qber, np.random.default_rng(7), scheme=CascadeLowRounds)
    run(a, b)
    assert np.array_equal(alice, b.bits)
    assert a.rounds < 300
    assert a.leak_bits < 1.13 * n * binary_entropy(float(errors.mean()))


@pytest.mark.parametrize("qber", [0.006, 0.02, 0.06])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_estimate_costs_leak_but_not_correctness(qber, factor):
    n = 8 * FRAME
    alice, errors, a, b = pair(n, qber, np.random.default_rng(5), hint=qber * factor)
    run(a, b)
    assert np.array_equal(alice, b.bits)
    assert b.n_corrected == errors.sum()
    assert a.leak_bits < 1.35 * n * binary_entropy(qber)
    assert a.rounds < MAX_ROUNDS


def test_degrades_gracefully_at_eleven_per_cent():
    n = 8 * FRAME
    alice, errors, a, b = pair(n, 0.11, np.random.default_rng(11))
    run(a, b)
    assert np.array_equal(alice, b.bits)
    assert a.leak_bits < 1.16 * n * binary_entropy(float(errors.mean()))


@pytest.mark.parametrize("n", [1, 7, 100, 4095, 4096, 4097, 65537, 70000, 2 * FRAME + 4096, 300001])
def test_any_length(n):
    alice, errors, a, b = pair(n, 0.03, np.random.default_rng(n))
    sent = run(a, b)
    assert np.array_equal(alice, b.bits)
    assert np.array_equal(a.bits, alice)
    assert a.n_corrected == b.n_corrected == errors.sum()
    assert a.rounds == b.rounds == len(sent[0]) == len(sent[1])


@pytest.mark.parametrize("n", [1, 5000, 3 * FRAME + 1])
def test_equal_keys_cost_one_pass_of_parities_and_the_checks(n):
    alice, _, a, b = pair(n, 0.0, np.random.default_rng(n), hint=0.01)
    run(a, b)
    assert np.array_equal(alice, b.bits)
    assert a.n_corrected == 0
    assert a.rounds <= 3 + 1


def test_opposite_keys_become_equal_too():
    n = 3000
    alice = np.random.default_rng(3).integers(0, 2, n, dtype=np.uint8)
    a = Cascade(alice, corrects=False, qber=0.1, seed=SEED)
    b = Cascade(alice ^ np.uint8(1), corrects=True, qber=0.1, seed=SEED)
    run(a, b)
    assert np.array_equal(alice, b.bits)


def test_a_burst_of_errors_is_corrected():
    n = 4 * FRAME
    alice = np.random.default_rng(4).integers(0, 2, n, dtype=np.uint8)
    bob = alice.copy()
    bob[100_000:102_000] ^= 1
    a = Cascade(alice, corrects=False, qber=0.01, seed=SEED)
    b = Cascade(bob, corrects=True, qber=0.01, seed=SEED)
    run(a, b)
    assert np.array_equal(alice, b.bits)


def test_leak_is_counted_to_the_bit_against_the_payloads():
    _, _, a, b = pair(150_000, 0.02, np.random.default_rng(6))
    bits_by_round = []
    sent = [a.start()], [b.start()]
    before = 0
    while True:
        bits_by_round.append(a.leak_bits - before)
        before = a.leak_bits
        replies = a.receive(sent[1][-1]), b.receive(sent[0][-1])
        if replies[0] is None:
            break
        sent[0].append(replies[0])
        sent[1].append(replies[1])
    assert a.leak_bits == b.leak_bits == sum(bits_by_round)
    assert [math.ceil(bits / 8) for bits in bits_by_round] == [len(p) for p in sent[0]]
    assert [len(p) for p in sent[0]] == [len(p) for p in sent[1]]
    for bits, payload in zip(bits_by_round, sent[0], strict=True):
        spare = 8 * len(payload) - bits
        assert payload[-1] & ((1 << spare) - 1) == 0


def test_a_malformed_payload_changes_nothing():
    alice, _, a, b = pair(70_000, 0.03, np.random.default_rng(8))
    to_b, to_a = a.start(), b.start()
    while to_a is not None:
        before = a.leak_bits, a.rounds, a.n_corrected, a.bits.tobytes()
        bad = [to_a + b"\0", to_a[:-1], b""]
        if to_a[-1] & 1 == 0 and a._n_asked % 8:
            bad.append(to_a[:-1] + bytes([to_a[-1] | 1]))
        for payload in bad:
            with pytest.raises(RemoteProtocolError, match="cascade payload: found"):
                a.receive(payload)
        assert before == (a.leak_bits, a.rounds, a.n_corrected, a.bits.tobytes())
        to_b, to_a = a.receive(to_a), b.receive(to_b)
    assert np.array_equal(alice, b.bits)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 20_000), qber=st.floats(0, 0.3), seed=st.integers(0, 2**32))
def test_a_peer_that_sends_noise_ends_it_soon_and_breaks_nothing(n, qber, seed):
    rng = np.random.default_rng(seed)
    key = rng.integers(0, 2, n, dtype=np.uint8)
    a = Cascade(key, corrects=False, qber=qber, seed=SEED)
    b = Cascade(key, corrects=True, qber=qber, seed=SEED)
    # Both hear the same noise about the difference, and so must still agree on every round.
    to_b, to_a = a.start(), b.start()
    while to_a is not None:
        n_bits = a._n_asked
        noise = np.packbits(rng.integers(0, 2, n_bits, dtype=np.uint8))
        mine = np.frombuffer(to_b, np.uint8)
        yours = np.frombuffer(to_a, np.uint8)
        to_b, to_a = a.receive((mine ^ noise).tobytes()), b.receive((yours ^ noise).tobytes())
        assert (to_b is None) == (to_a is None)
        assert a.rounds < 4096
    assert a.leak_bits == b.leak_bits
    assert np.array_equal(a.bits, key)


def test_rounds_are_bounded_whatever_the_peer_says(monkeypatch):
    monkeypatch.setattr("mdiqkd_net.postprocessing.reconcile.cascade.MAX_ROUNDS", 5)
    _, _, a, b = pair(70_000, 0.05, np.random.default_rng(9))
    run(a, b)
    assert a.rounds == b.rounds == 5


def checks_only(n_errors, rng, n=5000):
    """A schedule that sees little: blocks of a whole frame, so that the checks do the work."""
    alice = rng.integers(0, 2, n, dtype=np.uint8)
    bob = alice.copy()
    bob[rng.choice(n, n_errors, replace=False)] ^= 1
    schedule = Schedule((2**16, 2**16), int(rng.integers(0, 20)))
    return alice, (
        Cascade(alice, corrects=False, qber=0.01, seed=SEED, schedule=schedule),
        Cascade(bob, corrects=True, qber=0.01, seed=SEED, schedule=schedule),
    )


@settings(max_examples=25, deadline=None)
@given(n_errors=st.integers(0, 6), n=st.sampled_from([5000, 70_000]), seed=st.integers(0, 2**32))
def test_checks_find_what_the_passes_missed(n_errors, n, seed):
    alice, (a, b) = checks_only(n_errors, np.random.default_rng(seed), n)
    run(a, b)
    # Each example fails with a probability of 2^-16 per round of checks: seeds are fixed by CI,
    # and a frame that keeps errors keeps an even number of them.
    if not np.array_equal(alice, b.bits):
        assert np.count_nonzero(alice != b.bits) % 2 == 0


def test_a_peer_that_contradicts_itself_ends_the_group():
    """Answers that put an error where another pass knows that there is none."""
    _, _, a, b = pair(4096, 0.05, np.random.default_rng(15))
    to_b, to_a = a.start(), b.start()
    rounds = 0
    while to_a is not None:
        # From some round on every difference is claimed to be odd, to both users alike.
        if a.rounds > 12:
            bits = np.packbits(np.ones(a._n_asked, np.uint8))
            mine, yours = (np.frombuffer(x, np.uint8) for x in (to_b, to_a))
            to_b, to_a = (yours ^ bits).tobytes(), (mine ^ bits).tobytes()
        to_b, to_a = a.receive(to_a), b.receive(to_b)
        assert (to_b is None) == (to_a is None)
        rounds += 1
    assert rounds < MAX_ROUNDS
    assert a._batch.group[0, _kernels.STAGE] == _kernels.DONE
    assert a.leak_bits == b.leak_bits


@pytest.mark.parametrize("name", list(RECONCILERS))
def test_every_reconciler_keeps_the_contract(name):
    scheme = RECONCILERS[name]
    rng = np.random.default_rng(13)
    alice = rng.integers(0, 2, 10_000, dtype=np.uint8)
    bob = alice ^ (rng.random(10_000) < 0.02).astype(np.uint8)
    copy = bob.copy()
    a = scheme(alice, corrects=False, qber=0.02, seed=SEED)
    b = scheme(bob, corrects=True, qber=0.02, seed=SEED)
    assert not a.done
    run(a, b)
    assert np.array_equal(b.bits, alice)
    assert np.array_equal(bob, copy)
    assert a.leak_bits == b.peer_leak_bits > 0
    assert b.leak_bits == a.peer_leak_bits
    assert a.n_corrected == b.n_corrected == np.count_nonzero(alice != bob)
    assert str(list(alice[:8])) not in repr(a)


def test_misuse_is_refused():
    key = np.ones(10, np.uint8)
    a = Cascade(key, corrects=False, qber=0.02, seed=SEED)
    with pytest.raises(LocalProtocolError, match="no start"):
        a.receive(b"")
    first = a.start()
    with pytest.raises(LocalProtocolError, match="under way"):
        a.start()
    while first is not None:
        first = a.receive(first)
    with pytest.raises(LocalProtocolError, match="the end"):
        a.receive(b"")


@pytest.mark.parametrize(
    "change",
    [
        {"bits": np.zeros(0, np.uint8)},
        {"bits": np.full(3, 2, np.uint8)},
        {"bits": np.zeros((2, 2), np.uint8)},
        {"bits": np.zeros(3, np.int64)},
        {"seed": b"short"},
        {"qber": math.nan},
        {"qber": -0.1},
        {"qber": 1.1},
    ],
)
def test_bad_arguments_are_refused(change):
    arguments = {"bits": np.zeros(8, np.uint8), "seed": SEED, "qber": 0.01} | change
    bits = arguments.pop("bits")
    with pytest.raises(LocalProtocolError, match=r"found .* allowed"):
        Cascade(bits, corrects=True, **arguments)


@pytest.mark.parametrize("sizes", [(5,), (1, 4), (6, 5), (4, 2**17)])
def test_impossible_schedules_are_refused(sizes):
    with pytest.raises(LocalProtocolError, match="block_bits: found"):
        Schedule(sizes)


@pytest.mark.parametrize("profile", ["low_leak", "low_rounds"])
def test_schedules_follow_the_error_rate(profile):
    assert schedule_for(TABLE[3][0], profile) is TABLE[3][1][profile]
    assert schedule_for(0.9, profile) is TABLE[-1][1][profile]
    least = schedule_for(TABLE[0][0], profile).block_bits[0]
    assert schedule_for(TABLE[0][0] / 4, profile).block_bits[0] == least * 4
    assert schedule_for(0.0, profile).block_bits == (2**16, 2**16, 2**16)
    sizes = [schedule_for(q, profile).block_bits[0] for q in np.geomspace(1e-6, 0.5, 200)]
    assert all(after < 1.3 * before for before, after in itertools.pairwise(sizes))


@pytest.mark.parametrize("qber", [0.25, 0.5])
def test_keys_beyond_hope_end_with_a_ledger_and_without_a_hang(qber):
    _, _, a, b = pair(9000, qber, np.random.default_rng(16))
    sent = run(a, b)
    assert a.rounds <= MAX_ROUNDS
    assert a.leak_bits == b.leak_bits == a.peer_leak_bits
    assert 0 <= 8 * sum(map(len, sent[0])) - a.leak_bits < 8 * len(sent[0])


def test_the_peer_has_leaked_what_it_was_heard_to_say():
    _, _, a, b = pair(20_000, 0.02, np.random.default_rng(17))
    to_b, to_a = a.start(), b.start()
    while to_a is not None:
        assert a.peer_leak_bits <= b.leak_bits
        before = a.peer_leak_bits
        heard = len(to_a)
        to_b, to_a = a.receive(to_a), b.receive(to_b)
        assert 0 <= 8 * heard - (a.peer_leak_bits - before) < 8
    assert a.peer_leak_bits == b.leak_bits
