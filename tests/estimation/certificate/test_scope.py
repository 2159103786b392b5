"""What the proof does not cover is refused by name; and it is refused for a reason."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from scipy.optimize import linprog

from mdiqkd_net.estimation.certificate.scope import (
    OutsideScopeError,
    SettingBox,
    SourceBox,
    outside,
    require_scope,
)
from mdiqkd_net.params import Setting, Source, SourceBounds

SOURCE = Source(x=Setting(0.04, 0.13), y=Setting(0.16, 0.024), z=Setting(0.5, 0.82))
BOX = SourceBox.of(SOURCE)


def setting(low, high, p=(0.1, 0.1)):
    return SettingBox((low, high), p)


def test_the_scope_admits_what_is_proven():
    require_scope(BOX, "alice")
    require_scope(SourceBox.of(SOURCE, intensity_relative=0.5), "alice")
    assert outside(BOX, SOURCE) == ""


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (replace(BOX, vacuum=(0.0, 1e-5)), "finite extinction"),
        (replace(BOX, x=setting(0.04, 0.2)), "x.intensity"),
        (replace(BOX, x=setting(0.16, 0.16)), "wholly below"),
        (replace(BOX, x=setting(0.0, 0.04)), "x.intensity"),
        (replace(BOX, z=setting(0.5, 1.2)), "z.intensity"),
        (replace(BOX, z=setting(math.nan, 0.5)), "z.intensity"),
        (replace(BOX, z=setting(0.6, 0.5)), "z.intensity"),
        (replace(BOX, y=setting(0.16, 0.16, (0.0, 0.1))), "y.probability"),
        (replace(BOX, y=setting(0.16, 0.16, (0.1, math.nan))), "y.probability"),
        (replace(BOX, z=setting(0.5, 0.5, (0.82, 0.846))), "vacuum"),
    ],
)
def test_refusal_by_name(box, words):
    with pytest.raises(OutsideScopeError, match=f"bob.*{words}"):
        require_scope(box, "bob")


def test_a_source_outside_its_box_is_named():
    assert "x.intensity is 0.05" in outside(
        BOX, Source(x=Setting(0.05, 0.13), y=SOURCE.y, z=SOURCE.z)
    )


def test_declared_intensities_are_in_the_box_and_have_to_be():
    declared = msgspec.structs.replace(SOURCE, bounds=SourceBounds(x_relative=0.01, z_relative=0.1))
    box = SourceBox.of(declared)
    assert box.x.intensity == declared.intensity_intervals[1]
    assert box.y == BOX.y
    assert outside(box, declared) == outside(box, SOURCE) == ""
    assert "x.intensity is 0.0396; the design was made for 0.04" in outside(BOX, declared)
    wider = SourceBox.of(declared, intensity_relative=0.05)
    assert wider.x.intensity == SourceBox.of(SOURCE, intensity_relative=0.05).x.intensity
    assert wider.z == box.z


@pytest.mark.parametrize(
    "name", ["vacuum_intensity", "phase_nonuniformity", "intensity_correlation", "trojan_photons"]
)
def test_other_bounds_are_refused(name):
    declared = msgspec.structs.replace(SOURCE, bounds=SourceBounds(**{name: 1e-9}))
    assert f"bounds.{name} is 1e-09" in outside(BOX, declared)
    with pytest.raises(OutsideScopeError, match=name):
        SourceBox.of(declared)


def test_counterexample_three_intensities_in_one_basis():
    """Constraints at 0, 1, 2 and infinitely many photons do not imply the one at three.

    Alice has x intensities 0.05, 0.12 and 0.30 and a vacuum setting, Bob sends vacuum. The linear
    program finds scores that pass the four constraints and violate the fifth.
    """
    mu = np.array([0.0, 0.05, 0.12, 0.30])
    p = np.array([0.1, 0.3, 0.3, 0.3])

    def law(n):
        q = p * np.exp(-mu) * mu**n
        return q / q.sum()

    limit = np.array([0.0, 0.0, 0.0, 1.0])  # infinitely many photons: the strongest
    passed = np.array([law(0), law(1), law(2), limit])
    found = linprog(-law(3), A_ub=passed, b_ub=np.zeros(4), bounds=(-1.0, 23.0))
    assert found.status == 0
    assert np.max(passed @ found.x) < 1e-9
    assert -found.fun > 1e-3
    # With two intensities and the same four constraints, nothing is left to find.
    two = [0, 1, 3]
    for n in (3, 4, 7):
        inside = linprog(-law(n)[two], A_ub=passed[:, two], b_ub=np.zeros(4), bounds=(-1.0, 23.0))
        assert inside.status == 0
        assert -inside.fun < 1e-9


def test_counterexample_vacuum_that_is_not_vacuum(golden, golden_design, class_tables):
    """A design for exact vacuum is violated if Alice's o carries 1e-4 photons in the x mode."""
    found = {
        t.name: t
        for t in class_tables(golden_design, golden.source, golden.source, 1)
        if t.name[0] == 1
    }
    names = [c for c, _ in golden_design.scores]
    source = golden.source
    leaked = source.probabilities[0] * 1e-4 * math.exp(-1e-4)
    own = {
        k: s.probability * s.intensity * math.exp(-s.intensity)
        for k, s in (("x", source.x), ("z", source.z))
    }
    worst = -1.0
    for table in found.values():
        q = table.q.copy()
        for i, name in enumerate(names):
            if name[0] == "o":
                # Bob's part is that of a pair of another setting of Alice with the same photons.
                other = "z" if name[1] == "z" else "x"
                same = [k for k, c in enumerate(names) if c[:2] == other + name[1]]
                q[i] = leaked / own[other] * sum(table.q[k] for k in same)
        worst = max(worst, float(q @ (table.factor - 1.0)) / table.total)
    assert worst > 1e-9
