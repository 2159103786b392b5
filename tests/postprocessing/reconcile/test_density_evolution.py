import numpy as np
import pytest

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile import density_evolution
from mdiqkd_net.postprocessing.reconcile.density_evolution import channel, check_output, evolve
from mdiqkd_net.postprocessing.reconcile.ldpc_degrees import DEGREES, TABLE


def regular(degree):
    return np.array([float(d == degree) for d in DEGREES])


@pytest.mark.parametrize(
    # Thresholds by Richardson & Urbanke, IEEE Trans. Inf. Theory 47, 599 (2001), table I.
    ("column", "check", "threshold"),
    [(3, 6, 0.084), (4, 8, 0.076)],
)
def test_thresholds_of_regular_codes_are_those_published(column, check, threshold):
    for qber, works in ((threshold - 0.0015, True), (threshold + 0.0015, False)):
        found = evolve(qber, regular(column), check, 300)
        assert found.converges(regular(column)) == works


def test_a_check_multiplies_tanh():
    """The mean of tanh(x / 2) of a check's output is the power of that of its inputs."""
    start = channel(0.05)
    x = np.arange(-density_evolution.X_HALF, density_evolution.X_HALF + 1)
    tanh = np.tanh(x * density_evolution.X_STEP / 2.0)
    assert start @ tanh == pytest.approx(0.9**2, abs=1e-4)
    out = check_output(start, 7)
    assert out.sum() == pytest.approx(1.0)
    assert out @ tanh == pytest.approx((start @ tanh) ** 6, abs=2e-3)


def test_rows_of_the_table_work_at_the_rate_they_are_for():
    inverse = np.array(DEGREES, float)
    for leak, columns in TABLE[1::4]:
        edges = np.array(columns) * inverse
        mean = edges.sum() / sum(columns)
        rates = np.linspace(0.0, 0.2, 400)
        qber = float(np.interp(leak / 1.16, [binary_entropy(q) for q in rates], rates))
        edges /= edges.sum()
        assert evolve(qber, edges, mean / leak, 200).converges(edges)


def test_the_command_prints_a_row_of_the_table(capsys, monkeypatch):
    monkeypatch.setattr(density_evolution, "SPEED", 0.1)
    density_evolution.main(["0.06", "--column-degree", "4.4"])
    out, err = capsys.readouterr()
    leak, columns = eval(out.strip().removesuffix(","))  # noqa: S307
    assert sum(columns) == pytest.approx(10_000, abs=10)
    assert 1.0 < leak / binary_entropy(0.06) < 1.35
    assert "at the threshold" in err


def test_degrees_without_a_start_are_refused():
    with pytest.raises(LocalProtocolError, match="column degree: found"):
        density_evolution.design(0.003, 12.0)
