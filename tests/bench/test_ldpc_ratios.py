"""LDPC decoding against its peer from PyPI on the same matrix and errors, by CPU time.

Run with -s for the figures. The peer (package `ldpc`) comes with the extra `bench`.
"""

import math
import time

import numpy as np
import pytest
import scipy.sparse

from mdiqkd_net.postprocessing.leak import binary_entropy, efficiency
from mdiqkd_net.postprocessing.reconcile import ldpc
from mdiqkd_net.postprocessing.reconcile.ldpc_code import Code, build
from mdiqkd_net.postprocessing.reconcile.ldpc_decoder import Decoder


def matrix(code: Code) -> scipy.sparse.csr_matrix:
    lane = np.arange(code.size)
    row = np.repeat(np.arange(code.n_rows), np.diff(code.row_start))
    checks = (row[:, None] * code.size + lane).ravel()
    bits = code.column[:, None] * code.size + (lane + code.shift[:, None]) % code.size
    ones = np.ones(checks.size, np.uint8)
    shape = (code.n_rows * code.size, code.n_columns * code.size)
    return scipy.sparse.csr_matrix((ones, (checks, bits.ravel())), shape)


@pytest.mark.parametrize(("n_rows", "qber"), [(120, 0.0432), (41, 0.0106)])
def test_decoding_against_product_sum_of_the_peer(n_rows, qber):
    peer = pytest.importorskip("ldpc", reason="the peer is in the extra bench")
    code = build(400, n_rows, 256)
    h = matrix(code)
    n, n_ours, n_theirs = h.shape[1], 12, 2
    rng = np.random.default_rng(5)
    errors = [(rng.random(n) < qber).astype(np.uint8) for _ in range(n_ours)]
    syndromes = [np.asarray(h @ e % 2, np.uint8) for e in errors]
    decoder = Decoder(code, h.shape[0], qber)
    nobody = np.zeros(n, np.bool_)
    decoder.decode(syndromes[0], errors[0], nobody)
    times, failed = [], 0
    for s, e in zip(syndromes, errors, strict=True):
        start = time.process_time()
        found = decoder.decode(s, e, nobody)[1]
        times.append(time.process_time() - start)
        failed += not np.array_equal(found, e)
    theirs = peer.BpDecoder(
        h, error_rate=qber, max_iter=100, bp_method="product_sum", schedule="parallel"
    )
    peer_times, peer_failed = [], 0
    for s, e in zip(syndromes[:n_theirs], errors, strict=False):
        start = time.process_time()
        found = theirs.decode(s)
        peer_times.append(time.process_time() - start)
        peer_failed += not np.array_equal(found, e)
    ratio = float(np.median(peer_times) / np.median(times))
    print(  # noqa: T201
        f"\nldpc, f = {n_rows / 400 / binary_entropy(qber):.3f} at QBER {qber}: "
        f"{n / np.median(times) / 1e6:.1f} Mbit/s, {failed} of {n_ours} failed; "
        f"peer {n / np.median(peer_times) / 1e6:.4f} Mbit/s, {peer_failed} of {n_theirs} failed; "
        f"ratio {ratio:.0f}"
    )
    assert ratio > 150
    assert failed <= 1 + peer_failed * n_ours // n_theirs


@pytest.mark.parametrize(
    ("qber", "f_goal"), [(0.003, 1.25), (0.005, 1.20), (0.01, 1.15), (0.02, 1.13), (0.05, 1.12)]
)
def test_leak_and_speed_of_a_batch(qber, f_goal):
    rng = np.random.default_rng(6)
    n = 24 * ldpc.FRAME_BITS
    alice = rng.integers(0, 2, n, dtype=np.uint8)
    errors = (rng.random(n) < qber).astype(np.uint8)
    a = ldpc.Ldpc(alice, corrects=False, qber=qber, seed=bytes(32))
    b = ldpc.Ldpc(alice ^ errors, corrects=True, qber=qber, seed=bytes(32))
    start = time.process_time()
    to_b, to_a = a.start(), b.start()
    while to_a is not None:
        to_b, to_a = a.receive(to_a), b.receive(to_b)
    elapsed = time.process_time() - start
    assert np.array_equal(b.bits, alice)
    f = efficiency(a.leak_bits, n, float(errors.mean()))
    print(  # noqa: T201
        f"\nldpc, QBER {qber}: f = {f:.3f}, {a.rounds} rounds, "
        f"{n / elapsed / 1e6:.1f} Mbit/s both users"
    )
    assert math.isfinite(f)
    assert f < f_goal
