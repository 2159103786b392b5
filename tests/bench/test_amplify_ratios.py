"""Privacy amplification against its peers, on the same keys in one process, by CPU time.

Medians of some runs after one to warm up; run with -s for the figures. Peers beyond scipy come with
the extra `bench`. Peers get their inputs in the form they like best, made before the clock starts.
"""

import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import scipy.fft

from mdiqkd_net.postprocessing.amplify import amplify_packed, tiers

pytestmark = pytest.mark.skipif(tiers() == ("rfft",), reason="this CPU has the fallback only")

RATIOS = (0.1, 0.3, 0.5)
LARGE = [
    *(pytest.param(10**7, ratio, 3) for ratio in RATIOS),
    *(pytest.param(10**8, ratio, 1, marks=pytest.mark.campaign) for ratio in RATIOS),
]


def cpu_seconds(task: Callable[[], object], repeats: int) -> float:
    """Median CPU time."""
    task()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return statistics.median(times)


def problem(n_in: int, ratio: float) -> tuple[bytes, bytes, int]:
    rng = np.random.default_rng(n_in)
    return rng.bytes(-(-n_in // 8)), rng.bytes(-(-(n_in - 1) // 8)), int(n_in * ratio)


def single_fft(key: bytes, n_in: int, seed: bytes, n_out: int) -> bytes:
    """One real FFT over everything."""
    rest = n_in - n_out
    bits = np.unpackbits(np.frombuffer(key, np.uint8), count=n_in)
    diagonals = np.unpackbits(np.frombuffer(seed, np.uint8), count=n_in - 1)
    length = scipy.fft.next_fast_len(n_in - 1 + rest, real=True)
    spectrum = scipy.fft.rfft(diagonals.astype(float), length)
    spectrum *= scipy.fft.rfft(bits[n_out:].astype(float), length)
    sums = scipy.fft.irfft(spectrum, length)[rest - 1 : rest - 1 + n_out]
    return np.packbits(
        (np.rint(sums).astype(np.int64) & 1).astype(np.uint8) ^ bits[:n_out]
    ).tobytes()


def compare(name: str, n_in: int, ratio: float, ours_s: float, theirs_s: float) -> float:
    print(  # noqa: T201
        f"\namplify {n_in:.0e} bits, ratio {ratio}: {n_in / ours_s / 1e6:.0f} Mbit/s; "
        f"{name}: {n_in / theirs_s / 1e6:.3g} Mbit/s; {theirs_s / ours_s:.1f} times"
    )
    return theirs_s / ours_s


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_million_bits_against_a_single_fft(ratio):
    n_in = 10**6
    key, seed, n_out = problem(n_in, ratio)
    assert amplify_packed(key, n_in, seed, n_out) == single_fft(key, n_in, seed, n_out)
    ours = cpu_seconds(lambda: amplify_packed(key, n_in, seed, n_out), 25)
    theirs = cpu_seconds(lambda: single_fft(key, n_in, seed, n_out), 5)
    assert compare("scipy rfft", n_in, ratio, ours, theirs) > 40


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_million_bits_against_cryptomite(ratio):
    cryptomite = pytest.importorskip("cryptomite", reason="the extra `bench` is not installed")
    n_in = 10**6
    key, seed, n_out = problem(n_in, ratio)
    rest = n_in - n_out
    bits = np.unpackbits(np.frombuffer(key, np.uint8), count=n_in)
    diagonals = np.unpackbits(np.frombuffer(seed, np.uint8), count=n_in - 1)
    x = bits[n_out:].tolist()
    # It wants the diagonals from the main one on, and then those above it.
    turned = np.concatenate((diagonals[rest - 1 :], diagonals[: rest - 1])).tolist()
    extractor = cryptomite.Toeplitz(rest, n_out)
    product = np.array(extractor.extract(x, turned), np.uint8)
    assert np.packbits(product ^ bits[:n_out]).tobytes() == amplify_packed(key, n_in, seed, n_out)
    ours = cpu_seconds(lambda: amplify_packed(key, n_in, seed, n_out), 25)
    theirs = cpu_seconds(lambda: extractor.extract(x, turned), 1)
    assert compare("cryptomite", n_in, ratio, ours, theirs) > 200  # goal 300, on an idle machine


@pytest.mark.parametrize(("n_in", "ratio", "repeats"), LARGE)
def test_large_keys_against_a_single_fft(n_in, ratio, repeats):
    key, seed, n_out = problem(n_in, ratio)
    ours = cpu_seconds(lambda: amplify_packed(key, n_in, seed, n_out), 2 * repeats + 1)
    theirs = cpu_seconds(lambda: single_fft(key, n_in, seed, n_out), repeats)
    assert compare("scipy rfft", n_in, ratio, ours, theirs) > 25


@pytest.mark.parametrize(("n_in", "ratio", "repeats"), LARGE)
def test_large_keys_against_integer_multiplication(n_in, ratio, repeats):
    """(a x + b mod 2^(n + m)) div 2^n with full a and b, exactly 2-universal, too."""
    gmpy2 = pytest.importorskip("gmpy2", reason="the extra `bench` is not installed")
    key, seed, n_out = problem(n_in, ratio)
    rng = np.random.default_rng(5)
    a, b = (gmpy2.from_binary(b"\1\1" + rng.bytes((n_in + n_out) // 8)) for _ in range(2))
    x = gmpy2.from_binary(b"\1\1" + key)

    def integer_hash() -> object:
        return gmpy2.f_mod_2exp(a * x + b, n_in + n_out) >> n_in

    ours = cpu_seconds(lambda: amplify_packed(key, n_in, seed, n_out), 2 * repeats + 1)
    theirs = cpu_seconds(integer_hash, 2 * repeats + 1)
    assert compare("gmpy2", n_in, ratio, ours, theirs) > 1.5


def peak_bytes(task: Callable[[], object]) -> int:
    """Of what numpy allocates; the FFT's own buffers would come on top."""
    task()
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "n_in", [10**7, pytest.param(10**8, marks=pytest.mark.campaign)], ids=["1e7", "1e8"]
)
@pytest.mark.parametrize("ratio", RATIOS)
def test_memory_against_a_single_fft(n_in, ratio):
    key, seed, n_out = problem(n_in, ratio)
    ours = peak_bytes(lambda: amplify_packed(key, n_in, seed, n_out))
    theirs = peak_bytes(lambda: single_fft(key, n_in, seed, n_out))
    print(  # noqa: T201
        f"\namplify {n_in:.0e} bits, ratio {ratio}: {ours / 1e6:.1f} MB; "
        f"scipy rfft: {theirs / 1e6:.0f} MB; 1/{theirs / ours:.0f}"
    )
    assert ours < theirs / 15
