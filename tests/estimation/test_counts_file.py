"""Files of counts: the genuine one, and what is refused and how it is said."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.counts_file import parse_counts
from mdiqkd_net.estimation.decoy import sent
from mdiqkd_net.estimation.engine import blocks_needed, estimate
from mdiqkd_net.params import Security

REAL = (
    Path(__file__).parents[2].parent
    / "shared/data/real/counts/ustc_mdiqkd_four_intensity_DATA_FILE.csv"
)
needs_real_data = pytest.mark.skipif(
    not REAL.exists(), reason="the genuine recordings are not beside this checkout"
)

CSV = """\
0.07, 0.29, 0.47, 0.36, 0.09, 0.52
0.02, 0.10, 0.26, 0.35, 0.07, 0.55
0, 1000000, 160, 90, 165, 6, 7, 17, 12, 1, 13000, 118
"""

TOML = """\
n_pulses = 1000000
eps_sec = 1e-9
f_ec = 1.1

[alice]
x = { intensity = 0.07, probability = 0.36 }
y = { intensity = 0.29, probability = 0.09 }
z = { intensity = 0.47, probability = 0.52 }

[bob]
x = { intensity = 0.02, probability = 0.35 }
y = { intensity = 0.10, probability = 0.07 }
z = { intensity = 0.26, probability = 0.55 }

[counts]
oo = 1
ox = 7
xo = 6
oy = 12
yo = 17
xx = 250
yy = 165
zz = 13118

[errors]
xx = 90
zz = 118
"""


def test_both_layouts_say_the_same():
    csv, toml = parse_counts(CSV, "a.csv"), parse_counts(TOML, "a.toml")
    assert csv.counts == toml.counts
    assert (csv.alice, csv.bob) == (toml.alice, toml.bob)
    assert csv.security == Security()
    assert toml.security == Security(eps_sec=1e-9, eps_cor=1e-15, f_ec=1.1)
    assert csv.counts.n["xo"] == 6  # the first letter is Alice's
    assert csv.bob.y.intensity == 0.10
    assert csv.bob.z.probability == 0.55


def test_further_categories_are_welcome_in_toml():
    more = TOML.replace("[counts]", "[counts]\nxy = 40\nzx = 3").replace(
        "[errors]", "[errors]\nxy = 9"
    )
    assert parse_counts(more, "a.toml").counts.n["zx"] == 3


@needs_real_data
def test_genuine_counts():
    measured = parse_counts(REAL.read_text(), REAL.name)
    facts = json.loads((REAL.parent / f"{REAL.name}.expected.json").read_text())
    counts, alice, bob = measured.counts, measured.alice, measured.bob
    assert counts.n_pulses == facts["N"]
    for user, source in (("alice", alice), ("bob", bob)):
        for i, letter in enumerate("oxyz"):
            if letter != "o":
                assert source.intensities[i] == facts[user]["mu"][letter]
            assert source.probabilities[i] == pytest.approx(facts[user]["p"][letter], rel=1e-12)
    for name, value in facts["derived"].items():
        kind, category = name.lower().split("_")
        if kind == "e":
            found = counts.m[category] / counts.n[category]
        else:
            found = counts.n[category] / sent(counts, alice, bob, category)
        assert found == pytest.approx(value, rel=1e-12)


@needs_real_data
def test_genuine_counts_give_no_finite_key():
    measured = parse_counts(REAL.read_text(), REAL.name)
    arguments = (measured.counts, measured.alice, measured.bob, measured.security)
    found = estimate(*arguments)
    assert found.key_length_bits == 0
    assert found.reason
    assert found.asymptotic_key_length_bits == pytest.approx(1.21e5, rel=0.005)
    assert blocks_needed(*arguments) == pytest.approx(3.93, abs=0.01)


ALICE, BOB, COUNTS = CSV.splitlines()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found 0 lines; allowed: 3"),
        (ALICE, "found 1 lines; allowed: 3"),
        (f"{CSV}{COUNTS}\n", "found 4 lines"),
        (f"{ALICE}\n{BOB}\n0, 1000000, 160, 90", "f:3: counts: found 4 fields; allowed: 12"),
        (f"{ALICE}\n{BOB}\n{COUNTS}, 5", "f:3: counts: found 13 fields"),
        (f"{ALICE}\n\n{BOB}, 1\n{COUNTS}", "f:3: Bob's settings: found 7 fields; allowed: 6"),
        (CSV.replace("165", "l65"), "f:3: YY: found 'l65'; allowed: a finite number"),
        (CSV.replace("165", "nan"), "f:3: YY: found 'nan'"),
        (CSV.replace("165", ""), "f:3: YY: found ''"),
        (CSV.replace("165", "-1"), "f:3: YY: found -1; allowed: a whole number, 0 or more"),
        (CSV.replace("165", "1.5"), "f:3: YY: found 1.5"),
        (CSV.replace("1000000", "0"), "f:3: pulses: found 0; allowed: 1 to"),
        (CSV.replace("1000000", "1e300"), "f:3: pulses: found 1e+300; allowed: 1 to"),
        (CSV.replace("1000000", "5000"), "found 13576 events; allowed: at most the 5000 pulses"),
        (CSV.replace("0.36", "0.96"), "f:1: found mu_x 0.07"),
        (CSV.replace("0.35", "-0.35"), "f:2: found mu_x 0.02"),
        (CSV.replace("0.10", "0.01"), "below y.intensity"),
    ],
)
def test_bad_csv(text, words):
    with pytest.raises(ConfigError, match=r"^f:") as caught:
        parse_counts(text, "f")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("yy = 165\n", "", "counts: found oo, ox, xo, oy, yo, xx, zz; yy must be there, too"),
        ("zz = 118\n", "", "errors: found xx; zz must be there, too"),
        ("oo = 1", "oo = 1\nab = 3", "counts: found unknown category `ab`; allowed: oo, ox"),
        ("xx = 90", "xx = 9000", "xx: found 9000 errors; allowed: at most its 250 events"),
        ("xx = 250", "xx = -250", "counts.xx: found -250; allowed: a whole number, 0 or more"),
        ("xx = 250", "xx = 250.5", "counts.xx: found 250.5; allowed: a whole"),
        ("n_pulses = 1000000", "n_pulses = 100", "found 13576 events"),
        ("eps_sec = 1e-9", "eps_sec = 0.0", "eps_sec: found 0.0; allowed: float > 0.0"),
        ("eps_sec = 1e-9", "eps_sex = 1e-9", "found unknown key `eps_sex`"),
        ("intensity = 0.07", "intensity = nan", "alice.x.intensity: found nan"),
        ("[bob]", "[bob", "not TOML"),
    ],
)
def test_bad_toml(old, new, words):
    assert old in TOML
    with pytest.raises(ConfigError, match=r"^f: ") as caught:
        parse_counts(TOML.replace(old, new), "f")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(cut=st.integers(0, len(CSV)))
def test_truncated_csv_is_refused_or_whole(cut):
    """A file that lost its end never passes for another one, but for digits of the last number."""
    text, whole = CSV[:cut], parse_counts(CSV, "f").counts
    if text.count(",") < CSV.count(",") or text.rstrip().endswith(","):
        with pytest.raises(ConfigError, match=r"^f:"):
            parse_counts(text, "f")
    else:
        found = parse_counts(text, "f").counts
        assert {**found.n, "zz": 0} == {**whole.n, "zz": 0}


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(ConfigError):
        parse_counts(text, "f")
