"""From counts to a key length: exact, capped, and refused for all but the frozen case."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.blocks import CATEGORIES, Counts
from mdiqkd_net.estimation.certificate.design import LABEL, UNITS_PER_BIT
from mdiqkd_net.estimation.certificate.evaluate import certified_bits, certified_estimate
from mdiqkd_net.params import Security, Setting, Source

TESTED = ("xx", "xy", "yx", "yy")


def whole(case):
    return Counts(
        int(case.n_pulses),
        {c: int(v) for c, v in case.n.items()},
        {c: int(case.m[c]) for c in (*TESTED, "zz")},
    )


def evaluate(case, design, counts=None, **change):
    given = {
        "security": case.link.security,
        "leak_ec_bits": 10**8,
        "alice": case.source,
        "bob": case.source,
    } | change
    if "frozen_digest" not in given:
        given["frozen_digest"] = design.digest()
    return certified_estimate(counts or whole(case), design, **given)


def test_label_and_bookkeeping(golden, golden_design):
    found = evaluate(golden, golden_design)
    assert found.label == LABEL == "proof published with the code, not yet peer-reviewed"
    assert found.reason == ""
    assert found.digest == golden_design.digest()
    assert found.constant_bits == 118  # log2(2e15) + 2 log2(1e10), rounded up
    assert found.key_length_bits == found.certified_bits - 10**8 - 118


def test_transcripts_of_varying_length_cost_their_logarithm(golden, golden_design):
    one, many = (
        evaluate(golden, golden_design, n_transcripts=k).key_length_bits for k in (1, 2**20)
    )
    assert one - many == 20


@given(
    n=st.fixed_dictionaries(dict.fromkeys(CATEGORIES, st.integers(0, 10**13))),
    share=st.floats(0, 1),
)
def test_the_sum_is_exact(golden_design, n, share):
    m = {c: int(share * n[c]) for c in TESTED}
    bound, why = certified_bits(Counts(10**15, n, m), golden_design)
    assert not why
    total = Fraction(-golden_design.offset)
    for category, score in golden_design.scores:
        pair, _, flag = category.partition("/")
        count = {"": n[pair], "right": n[pair] - m.get(pair, 0), "wrong": m.get(pair, 0)}[flag]
        total += Fraction(count) * score
    assert bound == min(math.floor(total / UNITS_PER_BIT), n["zz"])


def test_fractional_counts_are_not_rounded_first(golden, golden_design):
    counts = whole(golden)
    halves = Counts(counts.n_pulses, {**counts.n, "xx": counts.n["xx"] + 0.5}, counts.m)
    more = Counts(counts.n_pulses, {**counts.n, "xx": counts.n["xx"] + 1}, counts.m)
    a, b, c = (certified_bits(x, golden_design)[0] for x in (counts, halves, more))
    assert abs((a + c) / 2 - b) <= 1


def test_never_more_than_the_key_rounds(golden, golden_design):
    """Freak counts lift the sum beyond the z events; the cap holds."""
    counts = whole(golden)
    freak = Counts(counts.n_pulses, {**counts.n, "ox": 10**9, "zz": 10**6}, counts.m | {"zz": 0})
    assert certified_bits(freak, golden_design) == (10**6, "")


@pytest.mark.parametrize(
    ("words", "n", "m"),
    [
        ("nan", {"xx": math.nan}, {}),
        ("inf", {"xx": math.inf}, {}),
        ("-1", {"yy": -1}, {}),
        ("errors in", {}, {"xx": 10**7}),
        ("nan", {}, {"xy": math.nan}),
        ("-3", {}, {"xy": -3}),
        ("pulse pairs", {"zz": 10**13}, {}),
        ("certify no private", {"ox": 0, "xo": 0}, {}),
        ("do not cover", {"zz": 10**8}, {"zz": 0}),
    ],
)
def test_bad_data_gives_no_key_and_a_reason(golden, golden_design, words, n, m):
    counts = whole(golden)
    bad = Counts(counts.n_pulses, {**counts.n, **n}, {**counts.m, **m})
    found = evaluate(golden, golden_design, bad)
    assert found.key_length_bits == 0
    assert words in found.reason


@pytest.mark.parametrize("missing", ["oz", "zz", "xx"])
def test_a_category_that_was_not_counted(golden, golden_design, missing):
    counts = whole(golden)
    n = {c: v for c, v in counts.n.items() if c != missing}
    found = evaluate(golden, golden_design, Counts(counts.n_pulses, n, {}))
    assert found.key_length_bits == 0
    assert "needs" in found.reason


def other(source, **change):
    return Source(**({k: getattr(source, k) for k in "xyz"} | change))


def test_everything_but_the_frozen_case_is_refused(golden, golden_design):
    source = golden.source
    off = other(source, x=Setting(0.041, 0.13))
    often = other(source, z=Setting(0.5, 0.8))
    cases = [
        ("frozen before", {"frozen_digest": "0" * 64}),
        ("frozen before", {"frozen_digest": ""}),
        ("eps_sec", {"security": Security(eps_sec=1e-12)}),
        ("Alice's x.intensity", {"alice": off}),
        ("Bob's z.probability", {"bob": often}),
        ("-5", {"leak_ec_bits": -5}),
        ("n_transcripts", {"n_transcripts": 0}),
    ]
    for words, change in cases:
        found = evaluate(golden, golden_design, **change)
        assert found.key_length_bits == 0
        assert words in found.reason


def test_the_checker_stands_before_every_evaluation(golden, golden_design):
    """A generous design with a matching digest is still refused."""
    scores = tuple((c, s + UNITS_PER_BIT) for c, s in golden_design.scores)
    generous = replace(golden_design, scores=scores)
    found = evaluate(golden, generous)
    assert found.key_length_bits == 0
    assert "class" in found.reason
    unreadable = replace(golden_design, theta="1e-6")
    found = evaluate(golden, unreadable, frozen_digest="")
    assert found.key_length_bits == 0
    assert "canonical" in found.reason
