"""The certificate behind the interface of all methods: numbers, ledger, refusals, labels."""

import math

import msgspec
import pytest

from mdiqkd_net.blocks import Counts
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.accounting import planned_leak_bits
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.certificate import evaluate
from mdiqkd_net.estimation.certificate.design import LABEL
from mdiqkd_net.estimation.certificate.evaluate import certified_estimate
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.engine import (
    blocks_needed,
    designed_key_bits,
    eps_ledger,
    estimate,
    in_words,
    more_light,
    predict_estimate,
    prepared,
)
from mdiqkd_net.estimation.methods import METHODS
from mdiqkd_net.params import Security, Setting, Source

SECURITY = Security()
CERTIFICATE = Analysis(method="certificate")


@pytest.fixture(scope="module")
def case(benchmark_case):
    return benchmark_case.tallies, benchmark_case.source, benchmark_case.source


@pytest.fixture(scope="module")
def frozen(case):
    return prepared(*case, SECURITY, CERTIFICATE)


def whole(tallies):
    return Counts(
        int(tallies.n_pulses),
        {c: round(n) for c, n in tallies.n.items()},
        {c: round(m) for c, m in tallies.m.items()},
    )


def test_golden_rate_by_the_interface_of_all_methods(case):
    found = predict_estimate(*case, SECURITY, CERTIFICATE)
    assert found.key_length_bits / 1e12 == pytest.approx(1.86086e-4, rel=2e-6)
    assert found.reason == ""
    assert found.label == LABEL
    unknown = found.s11_lower, found.e11_upper, found.n11_lower, found.phase_errors_upper
    assert unknown == (None, None, None, None)


def test_it_is_what_the_library_says(case, frozen):
    tallies, alice, bob = case
    counts = whole(tallies)
    leak = 160_000_000
    found = estimate(counts, alice, bob, SECURITY, frozen, leak_ec_bits=leak)
    library = certified_estimate(
        counts, frozen.design, SECURITY, leak, alice=alice, bob=bob, frozen_digest=frozen.digest
    )
    assert found.key_length_bits == library.key_length_bits > 0
    assert found.private_bits == library.certified_bits
    assert found.constant_bits == library.constant_bits == 118


@pytest.mark.parametrize("eps_sec", [1e-12, 2.0**-30, 1e-6])
@pytest.mark.parametrize("eps_cor", [1e-15, 2.0**-40])
def test_the_ledger_adds_up(case, eps_sec, eps_cor):
    security = Security(eps_sec=eps_sec, eps_cor=eps_cor)
    ledger = eps_ledger(*case, security, CERTIFICATE)
    (event,) = [share for share in ledger.shares if share.part == "statistics"]
    assert event.total == pytest.approx((eps_sec / 4) ** 2)
    assert ledger.spent("secrecy") == pytest.approx(eps_sec)
    assert ledger.spent("correctness") == eps_cor
    smoothing = 2.0 * math.sqrt(ledger.spent("statistics"))
    assert smoothing + eps_sec / 2 == pytest.approx(eps_sec)
    variable = math.log2(2 / eps_cor) + 2 * math.log2(1 / eps_sec)
    # Whole bits, exactly: a length must not depend on how a sum of logarithms rounds.
    assert ledger.constant_bits == math.ceil(variable + 1e-9)
    tallies, alice, bob = case
    frozen = prepared(tallies, alice, bob, security, CERTIFICATE)
    library = certified_estimate(
        tallies, frozen.design, security, 0, alice=alice, bob=bob, frozen_digest=frozen.digest
    )
    assert ledger.constant_bits == library.constant_bits


def test_measured_counts_want_a_frozen_design(case):
    tallies, alice, bob = case
    found = estimate(whole(tallies), alice, bob, SECURITY, CERTIFICATE)
    assert found.key_length_bits == 0
    assert found.reason == "a design must be frozen before the block, and there is none"


def test_another_digest_than_the_frozen_one_is_no_key(case, frozen):
    tallies, alice, bob = case
    other = msgspec.structs.replace(frozen, digest="0" * 64)
    found = estimate(whole(tallies), alice, bob, SECURITY, other)
    assert found.key_length_bits == 0
    assert "not the one that was frozen" in found.reason


def test_no_key_without_the_checker(case, frozen, monkeypatch):
    """Whoever comes by this interface passes the checker as well."""
    tallies, alice, bob = case
    design = frozen.design
    generous = msgspec.structs.replace(frozen, design=None, digest=None)
    scores = tuple((c, s + 2**48) for c, s in design.scores)
    raised = type(design)(
        design.alice,
        design.bob,
        design.eps_sec,
        design.theta,
        design.gain_right,
        design.gain_wrong,
        scores,
        design.offset,
    )
    generous = msgspec.structs.replace(generous, design=raised, digest=raised.digest())
    found = estimate(whole(tallies), alice, bob, SECURITY, generous)
    assert (found.key_length_bits, found.private_bits) == (0, 0.0)
    assert "certificate check" in found.reason
    asked = []
    monkeypatch.setattr(evaluate, "_admit", lambda d: (asked.append(d), (d.digest(), ""))[1])
    assert estimate(whole(tallies), alice, bob, SECURITY, frozen).key_length_bits > 0
    assert asked == [frozen.design]


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("accounting: found 'linear'; allowed .* certificate: variable", {"accounting": "linear"}),
        ("tail: found 'poisson'; allowed .* certificate: none", {"tail": "poisson"}),
        ("digest: found one without a design", {"digest": "0" * 64}),
    ],
)
def test_what_does_not_go_together(words, fields):
    with pytest.raises(ConfigError, match=words):
        Analysis(method="certificate", **fields)


def test_a_design_belongs_to_the_certificate(frozen):
    with pytest.raises(ConfigError, match="design: found one with the method double_scan"):
        Analysis(design=frozen.design)


def test_a_source_outside_the_scope_is_no_key_and_a_reason(case):
    tallies, alice, _ = case
    bright = Source(x=alice.x, y=alice.y, z=Setting(1.2, 0.82))
    found = predict_estimate(tallies, alice, bright, SECURITY, CERTIFICATE)
    assert found.key_length_bits == 0
    assert "bob: z.intensity" in found.reason
    assert designed_key_bits(tallies, alice, bright, SECURITY, CERTIFICATE) == 0.0


@pytest.mark.parametrize(
    ("category", "n", "m"), [("zz", math.nan, 0), ("xx", -1, 0), ("xx", 10, 11), ("yy", 1e9, 0)]
)
def test_bad_data_is_no_key_and_a_reason(case, frozen, category, n, m):
    tallies, alice, bob = case
    bad = Tallies(tallies.n_pulses, tallies.n | {category: n}, tallies.m | {category: m})
    for analysis in (frozen, CERTIFICATE):
        found = predict_estimate(bad, alice, bob, SECURITY, analysis)
        assert found.key_length_bits == 0
        assert category in found.reason
        assert blocks_needed(bad, alice, bob, SECURITY, analysis) is None


def test_searches_climb_on_the_number_that_is_reported(case):
    tallies, alice, bob = case
    smooth = designed_key_bits(tallies, alice, bob, SECURITY, CERTIFICATE)
    whole_bits = predict_estimate(tallies, alice, bob, SECURITY, CERTIFICATE).key_length_bits
    assert 0.0 <= smooth - whole_bits < 10.0


def test_how_much_more_light_a_key_takes(case):
    """With a design of its own the longer block has a key, and a slightly shorter one has none."""
    tallies, alice, bob = case
    short = Tallies(
        tallies.n_pulses / 1e3,
        {c: n / 1e3 for c, n in tallies.n.items()},
        {c: m / 1e3 for c, m in tallies.m.items()},
    )
    factor = blocks_needed(short, alice, bob, SECURITY, CERTIFICATE)
    assert factor > 1.0

    def bits(times):
        longer = Tallies(
            times * short.n_pulses,
            {c: times * n for c, n in short.n.items()},
            {c: times * m for c, m in short.m.items()},
        )
        return predict_estimate(longer, alice, bob, SECURITY, CERTIFICATE).key_length_bits

    assert bits(1.002 * factor) > 0 == bits(0.998 * factor)
    frozen = prepared(short, alice, bob, SECURITY, CERTIFICATE)
    kept = blocks_needed(short, alice, bob, SECURITY, frozen)
    assert kept is None or kept >= 0.999 * factor
    assert factor < blocks_needed(short, alice, bob, SECURITY)  # the double scan's


def test_planned_leak_is_that_of_all_methods(case):
    tallies, alice, bob = case
    found = predict_estimate(tallies, alice, bob, SECURITY, CERTIFICATE)
    planned = planned_leak_bits(tallies.n["zz"], tallies.m["zz"], SECURITY.f_ec)
    assert found.leak_ec_bits == math.ceil(planned)


def test_every_method_says_what_it_is():
    assert [name for name, method in METHODS.items() if method.label] == ["certificate"]
    assert all(method.what for method in METHODS.values())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "no amount of such data would give a key"),
        (540.0, "about 9 more minutes at this rate would give a key"),
        (0.0123, "about 0.012 more seconds at this rate would give a key"),
        (100.0, "about 100 more seconds at this rate would give a key"),
        (3600.0, "about 60 more minutes at this rate would give a key"),
        (8000.0, "about 2.2 more hours at this rate would give a key"),
        (1e7, "about 120 more days at this rate would give a key"),
    ],
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words


def test_times_from_factors():
    assert more_light(1.0, 1e12, 1e9) == 0.0
    assert more_light(1.54, 1e12, 1e9) == pytest.approx(540.0)
    assert more_light(None, 1e12, 1e9) is None
