import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toeplitz_naive import naive_amplify

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing import amplify as module
from mdiqkd_net.postprocessing.amplify import amplify, amplify_packed, seed_bits, tiers

VECTORS = json.loads(Path(__file__).with_name("amplify_vectors.json").read_text())


def pack(bits) -> bytes:
    return np.packbits(np.array(bits, np.uint8)).tobytes()


def problem(n_in, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n_in, dtype=np.uint8), rng.bytes(-(-(n_in - 1) // 8))


@settings(max_examples=60, deadline=None)
@given(n_in=st.integers(2, 700), share=st.floats(0, 1), seed=st.integers(0, 2**32))
@example(n_in=2, share=0, seed=1)
@example(n_in=640, share=1, seed=2)
def test_every_tier_is_the_definition(n_in, share, seed):
    n_out = 1 + int(share * (n_in - 2))
    bits, diagonals = problem(n_in, seed)
    expected = naive_amplify(bits, diagonals, n_out)
    assert amplify(bits, diagonals, n_out) == expected
    for tier in tiers():
        assert amplify_packed(pack(bits), n_in, diagonals, n_out, tier=tier) == expected


@pytest.mark.parametrize("tier", tiers())
@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: f"{v['n_in']}-{v['n_out']}")
def test_known_answers(vector, tier):
    """Key and seed are SHAKE-256 of their names; the checker is the definition in integers."""
    n_in, n_out = vector["n_in"], vector["n_out"]
    key = hashlib.shake_256(f"key {n_in} {n_out}".encode()).digest(-(-n_in // 8))
    seed = hashlib.shake_256(f"seed {n_in} {n_out}".encode()).digest(-(-(n_in - 1) // 8))
    result = amplify_packed(key, n_in, seed, n_out, tier=tier)
    assert hashlib.sha256(result).hexdigest() == vector["sha256"]
    if n_in <= VECTORS["checked_up_to"]:
        bits = np.unpackbits(np.frombuffer(key, np.uint8), count=n_in)
        assert naive_amplify(bits, seed, n_out) == result


@pytest.mark.parametrize("tier", tiers())
@pytest.mark.parametrize(("n_in", "n_out"), [(5, 2), (5, 3), (5, 4)])
def test_the_family_is_universal(n_in, n_out, tier):
    """No two keys collide under more than a fraction 2^-n_out of all seeds; exhaustively."""
    keys = [pack(k) for k in itertools.product((0, 1), repeat=n_in)]
    seeds = [pack(s) for s in itertools.product((0, 1), repeat=n_in - 1)]
    collisions = Counter()
    for seed in seeds:
        images = [amplify_packed(key, n_in, seed, n_out, tier=tier) for key in keys]
        collisions.update(
            pair
            for pair in itertools.combinations(range(len(keys)), 2)
            if images[pair[0]] == images[pair[1]]
        )
    assert max(collisions.values()) <= len(seeds) / 2**n_out


@pytest.mark.parametrize("tier", tiers())
def test_bits_behind_the_ends_do_not_count(tier):
    bits, seed = problem(1003, 3)
    key = pack(bits)
    clean = amplify_packed(key, 1003, seed, 333, tier=tier)
    dirty_key = key[:-1] + bytes([key[-1] | 0b11111])
    dirty_seed = seed[:-1] + bytes([seed[-1] ^ 0b111111])
    assert amplify_packed(dirty_key, 1003, dirty_seed, 333, tier=tier) == clean
    assert clean[-1] & 0b111 == 0


def test_threads_do_not_meet():
    n_in, n_out = 400_000, 100_000
    problems = [problem(n_in, k) for k in range(4)]
    expected = [amplify(bits, seed, n_out) for bits, seed in problems]
    got = [[] for _ in problems]

    def work(k):
        got[k] = [amplify(*problems[k], n_out) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [[e] * 5 for e in expected]


def test_the_result_is_in_memory_for_secrets_and_the_key_stays_the_callers():
    bits, seed = problem(3000, 1)
    before = bits.copy()
    with amplify(bits, seed, 1000) as key:
        assert key == naive_amplify(bits, seed, 1000)
        view = key.view
    assert bytes(view) == bytes(125)
    assert np.array_equal(bits, before)


def test_a_tier_that_computes_wrong_is_not_used(monkeypatch):
    """Users with different CPUs would not notice that their keys differ."""
    if len(tiers()) == 1:
        pytest.skip("this CPU has the fallback only")
    module._fastest.cache_clear()
    monkeypatch.setattr(module, "read_words", lambda packed, first, stop, words: words.fill(0))
    with pytest.raises(LocalProtocolError, match=r"tier clmul\d+: found a wrong result"):
        amplify(*problem(1000, 1), 100)
    module._fastest.cache_clear()


def test_a_tier_proves_itself_in_both_ways():
    ways = []
    for n_in, n_out in module.KNOWN:
        m, k = -(-n_out // 32), -(-(n_in - n_out) // 32)
        ways.append(module.direct.cost_ns(m, k) < module.blocks.plan(m, k).cost_ns)
    assert ways == [True, False]


@pytest.mark.parametrize(
    ("cpu", "features", "first"),
    [("generic", "", "rfft"), ("westmere", "+pclmul,+sse4.2", "clmul128")],
)
def test_code_for_lesser_cpus_gives_the_same_key(cpu, features, first):
    """Numba asks the environment which instructions it may use, and so do we."""
    if platform.machine() != "x86_64" or len(tiers()) == 1:
        pytest.skip("this CPU is no x86-64 with carry-less multiplication")
    program = (
        "from mdiqkd_net.postprocessing.amplify import amplify_packed, tiers;"
        "key, seed = bytes(range(250)) * 50, bytes(range(1, 251)) * 50;"
        "print(tiers()[0], amplify_packed(key, 100_000, seed, 40_000).hex())"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    key, seed = bytes(range(250)) * 50, bytes(range(1, 251)) * 50
    assert run.stdout.split() == [first, amplify_packed(key, 100_000, seed, 40_000).hex()]


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        (0, ("rfft",)),
        (2, ("clmul128", "clmul512", "clmul256", "rfft")),
        (4, ("clmul256", "clmul128", "clmul512", "rfft")),
        (8, ("clmul512", "clmul256", "clmul128", "rfft")),
    ],
)
def test_tiers_follow_the_cpu(monkeypatch, lanes, expected):
    monkeypatch.setattr(module, "instruction_lanes", lambda triple, features: lanes)
    assert tiers() == expected


def test_seed_bits():
    assert seed_bits(1000, 10) == 999
    assert seed_bits(2, 1) == 1


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 0), (8, -1), (8, 8), (8, 9), (1, 1), (0, 0)])
def test_lengths_that_leave_no_key_are_refused(n_in, n_out):
    with pytest.raises(LocalProtocolError, match=r"n_out: found .*; allowed: 1 to n_in - 1"):
        amplify(np.zeros(n_in, np.uint8), bytes(1), n_out)


@pytest.mark.parametrize("seed", [b"", bytes(2), np.zeros(1, np.int8), np.zeros((1, 1), np.uint8)])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(LocalProtocolError, match=r"seed: found shape .*; allowed: 1 bytes"):
        amplify(np.zeros(8, np.uint8), seed, 4)


@pytest.mark.parametrize("n_in", [7 * 8, 8 * 8 + 1])
def test_wrong_packed_keys_are_refused(n_in):
    with pytest.raises(LocalProtocolError, match=r"key: found shape \(8,\) of uint8; allowed"):
        amplify_packed(bytes(8), n_in, bytes(-(-(n_in - 1) // 8)), 4)


@pytest.mark.parametrize(
    "bits", [np.zeros((2, 4), np.uint8), np.zeros(8, np.int64), np.full(8, 3, np.uint8)]
)
def test_wrong_keys_are_refused(bits):
    with pytest.raises(LocalProtocolError, match="bits: found shape"):
        amplify(bits, bytes(1), 4)


def test_unknown_tiers_are_refused():
    with pytest.raises(LocalProtocolError, match=r"tier: found 'abacus'; allowed: .*rfft"):
        amplify_packed(bytes(8), 64, bytes(8), 4, tier="abacus")


def test_keys_need_not_be_contiguous():
    bits, seed = problem(800, 4)
    spread = np.repeat(np.packbits(bits), 2)[::2]
    assert amplify_packed(spread, 800, seed, 99) == amplify(bits, seed, 99)
