"""The checker accepts what the search makes and refuses every kind of tampering."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.estimation.certificate import check
from mdiqkd_net.estimation.certificate.check import InvalidDesignError, check_design
from mdiqkd_net.estimation.certificate.design import UNITS_PER_BIT
from mdiqkd_net.estimation.certificate.scope import SettingBox, SourceBox


def with_score(design, category, units):
    return replace(
        design, scores=tuple((c, units if c == category else s) for c, s in design.scores)
    )


def test_a_made_design_passes(golden_design, loose_designs):
    for design in (golden_design, *loose_designs.values()):
        check_design(design.canonical())


def test_every_constraint_is_enforced(golden, golden_design, class_tables):
    """Each class in turn is violated by 1e-11 of its weight, through each category it contains."""
    source = golden.source
    classes = set()
    for table in class_tables(golden_design, source, source, 2):
        for i, (category, score) in enumerate(golden_design.scores):
            weight = table.q[i] * table.factor[i] / table.total
            need = 1e-11 - table.excess
            if weight * 1e3 < need:
                continue  # no score below exp(7) would do; another category will
            more = math.log1p(need / weight) / golden_design.theta
            tampered = with_score(golden_design, category, score + int(more * UNITS_PER_BIT))
            with pytest.raises(InvalidDesignError, match="class"):
                check_design(tampered.canonical())
            classes.add(table.name)
    assert classes == {t.name for t in class_tables(golden_design, source, source, 2)}


def test_tight_classes_leave_no_room(golden_design):
    """Where a constraint holds with equality, a millionth of a bit more is refused."""
    with pytest.raises(InvalidDesignError, match="class"):
        check_design(
            with_score(
                golden_design, "zz", dict(golden_design.scores)["zz"] + UNITS_PER_BIT // 10**6
            ).canonical()
        )


def test_one_unit_matters(golden_design):
    design = golden_design
    for field, step, words in (
        ("offset", -(10**9), "offset"),
        ("gain_right", 12, "gain"),
        ("gain_wrong", 200, "gain"),
    ):
        tampered = replace(design, **{field: getattr(design, field) + step})
        with pytest.raises(InvalidDesignError, match=words):
            check_design(tampered.canonical())


def test_epsilon_cannot_be_tightened_for_free(golden_design):
    with pytest.raises(InvalidDesignError, match="offset"):
        check_design(replace(golden_design, eps_sec=0.999e-10).canonical())


def test_theta_cannot_be_raised(golden_design):
    with pytest.raises(InvalidDesignError, match="class"):
        check_design(replace(golden_design, theta=golden_design.theta * 1.001).canonical())


def box(golden_design, letter, **change):
    old = golden_design.alice
    parts = {k: getattr(old, k) for k in ("x", "y", "z", "vacuum")}
    if letter == "vacuum":
        parts["vacuum"] = change["vacuum"]
    else:
        setting = parts[letter]
        parts[letter] = SettingBox(
            change.get("intensity", setting.intensity),
            change.get("probability", setting.probability),
        )
    return replace(golden_design, alice=SourceBox(**parts))


@pytest.mark.parametrize(
    ("letter", "change", "words"),
    [
        ("vacuum", {"vacuum": (0.0, 1e-9)}, "exact vacuum"),
        ("x", {"intensity": (0.04, 0.17)}, "reach up"),
        ("x", {"intensity": (0.0, 0.04)}, "intensities"),
        ("z", {"intensity": (0.5, 1.5)}, "intensities"),
        ("z", {"intensity": (0.5, 0.4)}, "intensities"),
        ("z", {"probability": (0.82, 0.99)}, "vacuum"),
        ("y", {"probability": (-0.1, 0.1)}, "probabilities"),
        ("x", {"intensity": (0.0399, 0.04)}, "class"),
        ("y", {"intensity": (0.16, 0.1601)}, "class"),
        ("z", {"probability": (0.81, 0.82)}, "class"),
    ],
)
def test_another_source_is_refused(golden_design, letter, change, words):
    with pytest.raises(InvalidDesignError, match=words):
        check_design(box(golden_design, letter, **change).canonical())


def recoded(design, **change):
    raw = json.loads(design.canonical()) | change
    return json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"extra": 1},
        {"theta": "nan"},
        {"theta": "inf"},
        {"theta": "0x0.0p+0"},
        {"theta": 1e-6},
        {"theta": "1e-6"},
        {"eps_sec": "-0x1.0000000000000p-3"},
        {"offset": 1.5},
        {"offset": True},
        {"offset": -(10**30)},
        {"gain_right": 2**47, "gain_wrong": 2**47},
        {"gain_right": 2**100},
        {"scores": []},
        {"scores": {}},
        {"scores": [["zz", 0], ["zz", 0]]},
        {"scores": [["zz", 0], ["xz", 0]]},
        {"scores": [["zz", 0], ["xx/right", 0]]},
        {"scores": [["zz", 0], ["xx", 0], ["xx/right", 0], ["xx/wrong", 0]]},
        {"scores": [["zz", "0"]]},
        {"scores": [["zz", 2**119]]},
        {"scores": [["oo", 0]]},
        {"alice": None},
        {"alice": {"x": [], "y": [], "z": [], "vacuum": []}},
    ],
)
def test_malformed_designs_are_refused(golden_design, change):
    with pytest.raises(InvalidDesignError, match="certificate check"):
        check_design(recoded(golden_design, **change))


@given(data=st.binary(max_size=200))
def test_anything_else_is_refused(data):
    with pytest.raises(InvalidDesignError):
        check_design(data)


def test_spaces_are_not_canonical(golden_design):
    with pytest.raises(InvalidDesignError, match="canonical"):
        check_design(golden_design.canonical() + b" ")
    with pytest.raises(InvalidDesignError, match="allowed"):
        check_design(b" " * 20000)


def test_a_design_that_certifies_nothing_is_safe_and_passes(golden_design):
    """All scores zero would claim G >= -offset; feasible once single-photon pairs pay for it."""
    scores = tuple((c, golden_design.gain_wrong) for c, _ in golden_design.scores)
    check_design(replace(golden_design, scores=scores).canonical())


@given(x=st.fractions(-80, 80, max_denominator=10**6))
def test_exponential_is_enclosed(x):
    from decimal import Context, Decimal

    low, high = check._exp(x)
    context = Context(prec=120)
    exact = context.exp(context.divide(Decimal(x.numerator), Decimal(x.denominator)))
    one = Decimal(2**256)
    assert context.divide(Decimal(low), one) <= exact <= context.divide(Decimal(high), one)
    assert high - low <= 4 + (high >> 230)


@given(units=st.integers(-20 * 2**48, 2 * 2**48))
def test_powers_of_two_are_bounded(units):
    from decimal import Context, Decimal

    context = Context(prec=100)
    exact = context.power(Decimal(2), context.divide(Decimal(units), Decimal(2**48)))
    bound = context.divide(Decimal(check._power_of_two_upper(units)), Decimal(2**256))
    assert exact <= bound <= context.multiply(exact, Decimal("1.000000000000000000000000001"))


def test_the_checker_shares_no_code_with_the_search():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(check.__file__).read_text())
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    own = {m for m in modules if m.startswith("mdiqkd_net")}
    assert own == {"mdiqkd_net.errors"}
