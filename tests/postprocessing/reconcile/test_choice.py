import pytest

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile import RECONCILERS
from mdiqkd_net.postprocessing.reconcile.choice import FIGURES, choose, kept_bits_per_s


def test_every_scheme_has_figures():
    assert set(FIGURES) == set(RECONCILERS)


def test_light_that_takes_longer_than_the_rounds_makes_leak_decide():
    chosen = choose(0.02, 10**6, 0.001, accumulation_s=10.0)
    assert chosen.name == "cascade"
    assert "0.02" in chosen.reason


def test_long_round_trips_make_rounds_decide():
    names = [choose(0.02, 10**6, rtt, accumulation_s=1.0).name for rtt in (1e-3, 5e-3, 0.3)]
    assert names == ["cascade", "cascade_low_rounds", "ldpc"]


def test_the_crossover_is_where_both_keep_as_much():
    def margin(rtt):
        kept = [
            kept_bits_per_s(FIGURES[n], qber=0.02, n_bits=10**6, rtt_s=rtt, accumulation_s=0.0)
            for n in ("cascade_low_rounds", "ldpc")
        ]
        return kept[0] - kept[1]

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if margin(middle) > 0 else (low, middle)
    names = set(FIGURES) - {"cascade"}
    few = {name: FIGURES[name] for name in names}
    assert choose(0.02, 10**6, low * 0.99, figures=few).name == "cascade_low_rounds"
    assert choose(0.02, 10**6, low * 1.01, figures=few).name == "ldpc"


def test_the_leak_that_was_measured_in_short_blocks():
    """Means of 20 batches of 3000 bits at 2 %, f 1.22, 1.17 and 1.27."""
    for name, f in (("cascade", 1.22), ("cascade_low_rounds", 1.17), ("ldpc", 1.27)):
        measured = f * 3000 * binary_entropy(0.02)
        assert FIGURES[name].leak_bits(0.02, 3000) == pytest.approx(measured, rel=0.15)


def test_a_block_of_more_than_a_batch_pays_rounds_for_each():
    figures = FIGURES["ldpc"]
    one, three = figures.time_s(1 << 23, 1.0), figures.time_s(3 << 23, 1.0)
    assert three == pytest.approx(3 * one)
    assert one == pytest.approx(6 / 2 + (1 << 23) / figures.bits_per_s)


def test_leak_matters_the_more_the_shorter_the_key():
    rich = choose(0.02, 10**6, 2e-3, accumulation_s=10.0, overlapped=False)
    poor = choose(
        0.02, 10**6, 2e-3, accumulation_s=10.0, overlapped=False, budget_bits=0.16 * 10**6
    )
    assert (rich.name, poor.name) == ("cascade_low_rounds", "cascade")


def test_without_a_key_the_least_leak_is_taken():
    assert choose(0.02, 10**6, 10.0, budget_bits=1.0).name == "cascade"


def test_light_that_waits_is_added_to_the_time():
    figures = FIGURES["cascade"]
    kept = [
        kept_bits_per_s(
            figures, qber=0.02, n_bits=10**6, rtt_s=1e-3, accumulation_s=5.0, overlapped=o
        )
        for o in (True, False)
    ]
    assert kept[0] / kept[1] == pytest.approx(1.0 + figures.time_s(10**6, 1e-3) / 5.0)


def test_a_proof_may_demand_one_way():
    assert choose(0.02, 10**6, 0.001, accumulation_s=10.0, one_way=True).name == "ldpc"
    with pytest.raises(LocalProtocolError, match="one-way"):
        choose(0.02, 100, 0.0, one_way=True, figures={"cascade": FIGURES["cascade"]})


@pytest.mark.parametrize(
    "arguments", [(0.6, 10, 0.0), (float("nan"), 10, 0.0), (0.1, 0, 0.0), (0.1, 10, -1.0)]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(LocalProtocolError, match=r"found .* allowed"):
        choose(*arguments)
