import numpy as np
import pytest
from gf2 import field_multiply, multiply, polynomial_value

from mdiqkd_net.postprocessing.toeplitz import additive
from mdiqkd_net.postprocessing.toeplitz.additive import DUAL, EVALUATE, PROJECT
from mdiqkd_net.postprocessing.toeplitz.field import CANTOR_BASIS
from mdiqkd_net.postprocessing.toeplitz.vectors import instruction_lanes, target

pytestmark = pytest.mark.skipif(
    not instruction_lanes(*target()), reason="this CPU has no carry-less multiplication"
)
WIDTHS = [2, 4, 8]


def spectrum(words, log_n, way, width):
    points, passes = additive.tables(log_n)
    words = words.copy()
    additive.change_basis(words, passes, way)
    values = words.astype(np.uint64)
    additive.butterflies(values, points, (0,) * width, way)
    return values


def projected(values, log_n, width):
    points, passes = additive.tables(log_n)
    values = values.copy()
    additive.butterflies(values, points, (0,) * width, PROJECT)
    additive.change_basis(values.view(np.uint32), passes, PROJECT)
    return values


def random_words(seed, n):
    return np.random.default_rng(seed).integers(0, 2**32, n, dtype=np.uint32)


@pytest.mark.parametrize("width", WIDTHS)
def test_evaluate_is_horners_rule(width):
    log_n = 7
    points = [0]
    for v in CANTOR_BASIS[:log_n]:
        points += [point ^ v for point in points]
    f = random_words(1, 1 << log_n)
    expected = sorted(polynomial_value(f.tolist(), point) for point in points)
    assert sorted(spectrum(f, log_n, EVALUATE, width).tolist()) == expected


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("log_n", [6, 9, 13])
def test_sums_over_windows(log_n, width):
    """The one identity that users rely on, with tiles smaller than the whole at 2^13."""
    n = 1 << log_n
    k = n // 2 - 5
    w, x = random_words(2, n), random_words(3, n)
    x[k:] = 0
    products = [
        field_multiply(a, b)
        for a, b in zip(
            spectrum(w, log_n, DUAL, width).tolist(),
            spectrum(x, log_n, EVALUATE, width).tolist(),
            strict=True,
        )
    ]
    got = projected(np.array(products, np.uint64), log_n, width).tolist()
    rng = np.random.default_rng(4)
    for q in {0, n - k, *rng.integers(0, n - k, 6).tolist()}:
        total = 0
        for a, b in zip(w[q : q + k].tolist(), x[:k].tolist(), strict=True):
            total ^= multiply(a, b)
        assert got[q] == total


@pytest.mark.parametrize("log_n", [10, 12, 15, 17, 18])
def test_all_widths_agree_in_every_length(log_n):
    f = random_words(5, 1 << log_n)
    for way in (EVALUATE, DUAL):
        spectra = [spectrum(f, log_n, way, width) for width in WIDTHS]
        # Widths order the values in their own ways.
        assert len({np.sort(values).tobytes() for values in spectra}) == 1
    back = [projected(spectrum(f, log_n, DUAL, width), log_n, width) for width in WIDTHS]
    assert len({values.tobytes() for values in back}) == 1


def test_tables_cannot_be_changed():
    for table in additive.tables(9):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1
