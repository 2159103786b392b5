"""Designs: rates of known cases, all photon numbers, robustness over a box of sources."""

import math

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.accounting import planned_leak_bits
from mdiqkd_net.estimation.certificate.check import check_design
from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT
from mdiqkd_net.estimation.certificate.evaluate import certified_bits, certified_estimate
from mdiqkd_net.estimation.certificate.scope import OutsideScopeError, SourceBox
from mdiqkd_net.estimation.certificate.search import design_certificate, designed_bits
from mdiqkd_net.estimation.decoy import Tallies
from mdiqkd_net.estimation.engine import estimate
from mdiqkd_net.params import Security, Setting, Source


def rate(case, design):
    leak = math.ceil(planned_leak_bits(case.n["zz"], case.m["zz"], case.link.f_ec))
    found = certified_estimate(
        case,
        design,
        case.link.security,
        leak,
        alice=case.source,
        bob=case.source,
        frozen_digest=design.digest(),
    )
    return found.key_length_bits / case.n_pulses


def double_scan_rate(case):
    found = estimate(case, case.source, case.source, case.link.security)
    return found.key_length_bits / case.n_pulses


def made_for(case, **box):
    boxes = SourceBox.of(case.source, **box)
    return design_certificate(case, boxes, boxes, case.link.security)


def test_golden_rate(golden, golden_design):
    assert rate(golden, golden_design) >= 1.8608e-4
    assert rate(golden, golden_design) < 2.3636e-4  # what exact gains would give


def test_golden_gain_over_the_double_scan(golden, golden_design):
    assert 1.30 < rate(golden, golden_design) / double_scan_rate(golden) < 1.33


@pytest.mark.parametrize(
    ("km", "n_pulses", "mu", "p", "reference", "double_scan"),
    [
        (50, 1e10, (0.0644, 0.2749, 0.6215), (0.1643, 0.0172, 0.7905), 6.98e-4, 3.88e-4),
        (100, 1e10, (0.072, 0.322, 0.483), (0.288, 0.036, 0.639), 2.27e-5, 5.76e-6),
        (100, 1e12, (0.045, 0.21, 0.60), (0.11, 0.009, 0.86), 9.55e-5, 6.67e-5),
    ],
)
def test_links_near_their_best_settings(prediction, km, n_pulses, mu, p, reference, double_scan):
    """Against rates that an independent program found, both methods at their own best settings."""
    case = prediction(km, n_pulses, mu, p)
    certified = rate(case, made_for(case))
    assert certified == pytest.approx(reference, rel=5e-3)
    assert double_scan_rate(case) < 1.01 * double_scan < certified


def test_fewer_comparisons_give_less(golden, golden_design):
    """Errors of xy, yx and yy withheld: the pairs count whole."""
    partial = type(golden)(
        golden.link, golden.n_pulses, golden.n, {c: golden.m[c] for c in ("xx", "zz")}
    )
    design = design_certificate(partial, golden.source, golden.source, golden.link.security)
    assert dict(design.scores).keys() >= {"xx/right", "xx/wrong", "xy", "yx", "yy"}
    assert 0.8 * rate(golden, golden_design) < rate(partial, design) < rate(golden, golden_design)


def test_every_photon_number_obeys_the_constraints(golden, golden_design, class_tables):
    """Photon numbers 0, 1, 2 and infinity imply all others."""
    found = class_tables(golden_design, golden.source, golden.source, 16)
    assert len(found) > 500
    assert max(t.excess for t in found) < 1e-13
    # Neither is the design slack: some constraints hold with equality.
    assert max(t.excess for t in found if t.name[:1] == (1,)) > -1e-11


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(
    x=st.floats(0.01, 0.12),
    ratio=st.floats(1.5, 6.0),
    z=st.floats(0.1, 0.9),
    p=st.tuples(st.floats(0.05, 0.4), st.floats(0.01, 0.2), st.floats(0.2, 0.6)),
    length=st.floats(0.0, 90.0),
    log_n=st.floats(8.0, 14.0),
)
def test_designs_of_any_link_pass(prediction, class_tables, x, ratio, z, p, length, log_n):
    total = sum(p) / 0.97
    p = tuple(q / max(1.0, total) for q in p)
    case = prediction(length, 10**log_n, (x, x * ratio, z), p)
    design = made_for(case)
    check_design(design.canonical())
    worst = max(t.excess for t in class_tables(design, case.source, case.source, 16))
    assert worst < 1e-13


def test_users_may_differ(golden, class_tables):
    alice = golden.source
    bob = Source(x=Setting(0.09, 0.2), y=Setting(0.3, 0.05), z=Setting(0.35, 0.7))
    design = design_certificate(golden, alice, bob, golden.link.security)
    assert max(t.excess for t in class_tables(design, alice, bob, 16)) < 1e-13
    # ... and are not interchangeable.
    assert max(t.excess for t in class_tables(design, bob, alice, 3)) > 1e-6


def corners(source, relative):
    for signs in range(8):
        scale = [1 + relative * (1 if signs >> i & 1 else -1) for i in range(3)]
        yield Source(
            **{
                k: Setting(getattr(source, k).intensity * s, getattr(source, k).probability)
                for k, s in zip("xyz", scale, strict=True)
            }
        )


def test_a_robust_design_holds_for_every_source_in_the_box(golden, golden_design, class_tables):
    relative = 0.01
    robust = made_for(golden, intensity_relative=relative)
    misset = 0.0
    for alice in corners(golden.source, 0.9999 * relative):
        for bob in corners(golden.source, 0.9999 * relative):
            assert max(t.excess for t in class_tables(robust, alice, bob, 3)) < 1e-13
            nominal = class_tables(golden_design, alice, bob, 2)
            misset = max(misset, *(t.excess for t in nominal))
    assert misset > 1e-7  # the nominal design does not hold there
    assert 0.85 < rate(golden, robust) / rate(golden, golden_design) < 0.9


def test_the_price_of_a_tenth_of_a_percent(golden, golden_design):
    robust = made_for(golden, intensity_relative=1e-3)
    assert 0.98 < rate(golden, robust) / rate(golden, golden_design) < 0.995


def test_hopeless_links_get_a_design_and_no_key(prediction):
    case = prediction(400, 1e9, (0.04, 0.16, 0.5), (0.13, 0.024, 0.82))
    assert rate(case, made_for(case)) == 0.0


@pytest.mark.parametrize("change", [{"zz": math.nan}, {"xx": -1.0}, {"xx": 1.0}])
def test_expected_counts_must_be_counts(golden, change):
    wrong = type(golden)(golden.link, golden.n_pulses, golden.n | change, golden.m)
    with pytest.raises(ConfigError, match="expected counts"):
        design_certificate(wrong, golden.source, golden.source, Security())


def test_sources_outside_the_scope_get_no_design(golden):
    dim = SourceBox(*(getattr(SourceBox.of(golden.source), k) for k in "xyz"), vacuum=(0.0, 1e-6))
    with pytest.raises(OutsideScopeError, match="bob: finite extinction"):
        design_certificate(golden, golden.source, dim, Security())


def test_gains_lie_below_the_entropy(golden_design):
    """n (1 - h(k/n)) >= gain_right (n - k) + gain_wrong k, and nearly equal somewhere."""
    right = golden_design.gain_right / UNITS_PER_BIT
    wrong = golden_design.gain_wrong / UNITS_PER_BIT
    gaps = []
    for share in (i / 1000 for i in range(501)):
        entropy = sum(-q * math.log2(q) for q in (share, 1 - share) if q > 0)
        gaps.append(1 - entropy - (right * (1 - share) + wrong * share))
    assert 0.0 <= min(gaps) < 1e-5


def test_what_searches_climb_on_is_what_the_design_certifies(golden, golden_design):
    """But for the rounding that makes a claim of it: a few bits."""
    smooth = designed_bits(golden, golden.source, golden.source, golden.link.security)
    certified, why = certified_bits(golden, golden_design)
    assert not why
    assert -1e-6 * smooth < certified - smooth <= 0.0


def test_more_light_certifies_more_of_every_event(golden):
    """The value per event rises with the length of the block, as fluctuations matter less."""

    def per_pulse(factor):
        scaled = Tallies(
            factor * golden.n_pulses,
            {c: factor * n for c, n in golden.n.items()},
            {c: factor * m for c, m in golden.m.items()},
        )
        found = designed_bits(scaled, golden.source, golden.source, golden.link.security)
        return found / scaled.n_pulses

    rates = [per_pulse(factor) for factor in (1e-6, 1e-3, 1.0, 1e3, 1e6)]
    assert rates == sorted(rates)
    assert rates[0] < 0.0 < rates[2]
