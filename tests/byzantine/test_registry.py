"""The table of behaviours: complete, refused where it does not fit, and the one in the manual."""

import ast
from pathlib import Path

import pytest

from mdiqkd_net.byzantine import PREFIX, check, conduct_of, table
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.byzantine.registry import BEHAVIOURS, ELSEWHERE
from mdiqkd_net.physics.attacks import ATTACKS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "hostile-relay.md"


def test_every_case_is_here_or_says_why_not():
    here = {conduct.case for conduct in BEHAVIOURS.values()}
    assert here | set(ELSEWHERE) == {f"BZ-{i:02d}" for i in range(1, 26)}
    assert not here & set(ELSEWHERE)


def test_every_attack_on_the_light_has_its_name():
    attacks = {name: c.attack for name, c in BEHAVIOURS.items() if c.attack is not None}
    assert attacks == {name: name for name in ATTACKS}


def test_cases_without_a_behaviour_name_tests_that_exist():
    for _, test in ELSEWHERE.values():
        if test:
            path, name = test.split("::")
            functions = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
            assert name in [f.name for f in functions if isinstance(f, ast.FunctionDef)]


def test_the_manual_shows_the_table():
    assert table.markdown() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("relay", ["dishonest", "byzantine:", "byzantine:nice", "equivocate"])
def test_unknown_names_are_refused_with_those_that_are_known(relay):
    with pytest.raises(ValueError, match=r"allowed: honest, byzantine:equivocate, "):
        conduct_of(relay)


def test_an_extent_fits_its_behaviour():
    assert check("honest", Extent()) is None
    some = Extent(share=0.1)
    assert check(PREFIX + "equivocate", some) is BEHAVIOURS["equivocate"]
    for relay, extent in (
        ("honest", some),
        (PREFIX + "z_only", Extent(first_session=2)),
        (PREFIX + "replay", some),
    ):
        with pytest.raises(ValueError, match="byzantine"):
            check(relay, extent)


def test_an_extent_counts_sessions_from_one():
    held = [Extent(first_session=2, sessions=2).holds(n) for n in range(1, 6)]
    assert held == [False, True, True, False, False]
    assert Extent(first_session=3).holds(10**6)
