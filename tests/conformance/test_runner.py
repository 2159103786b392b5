"""How cases are chosen, played and judged, against a harness that has no network."""

import pytest
import trio

from mdiqkd_net.conformance.cases import (
    Area,
    Broken,
    Case,
    Close,
    Ending,
    Skipped,
    Unimplemented,
    Verdict,
    select,
)
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.harness import Harness
from mdiqkd_net.conformance.runner import conforms, judge, play
from mdiqkd_net.errors import ConfigError


class Scripted(Harness):
    """Answers probes from a list; the last answer for ever."""

    def __init__(self, *probes):
        super().__init__(Deadlines(), 1)
        self.probes = list(probes) or [None]
        self.n_probes = 0

    def why_not(self, case):
        return "needs the moon" if "moon" in case.needs else None

    async def probe(self):
        self.n_probes += 1
        return self.probes.pop(0) if len(self.probes) > 1 else self.probes[0]


def case(run, number=1, level="MUST", layer="L1", needs=()):
    return Case(f"CT-X-{number:02}", "X", ("2.1",), level, layer, "does it", needs, run)


def ending_with(close=Close.NOT_JUDGED, found=""):
    async def run(_):
        return Ending(close, found)

    return run


def raising(error):
    async def run(_):
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (ending_with(), Verdict.PASS),
        (ending_with(Close.CLEAN), Verdict.PASS),
        (ending_with(Close.NO_ERROR), Verdict.UNCLEAN),
        (ending_with(Close.WRONG_CODE), Verdict.UNCLEAN),
        (ending_with(Close.LEFT_OPEN), Verdict.UNCLEAN),
        (raising(Broken("no")), Verdict.FAIL),
        (raising(ExceptionGroup("tasks", [Broken("no")])), Verdict.FAIL),
        (raising(Skipped("not here")), Verdict.SKIP),
        (raising(Unimplemented("not offered")), Verdict.UNIMPLEMENTED),
    ],
)
async def test_every_way_to_end(run, verdict):
    (result,) = await play(Scripted(), [case(run)])
    assert result.verdict is verdict


@pytest.mark.parametrize(
    ("level", "behavior", "strict", "verdict"),
    [
        ("SHOULD", Verdict.FAIL, False, Verdict.NON_STRICT),
        ("SHOULD", Verdict.FAIL, True, Verdict.FAIL),
        ("SHOULD", Verdict.PASS, False, Verdict.PASS),
        ("INFO", Verdict.FAIL, True, Verdict.INFO),
        ("INFO", Verdict.PASS, False, Verdict.INFO),
        ("INFO", Verdict.SKIP, False, Verdict.SKIP),
        ("MUST", Verdict.FAIL, False, Verdict.FAIL),
    ],
)
def test_what_a_level_makes_of_a_behavior(level, behavior, strict, verdict):
    judged = judge(case(ending_with(), level=level), behavior, Close.NOT_JUDGED, strict=strict)
    assert judged is verdict


async def test_a_bug_of_the_harness_is_no_finding():
    with pytest.RaisesGroup(ZeroDivisionError):
        await play(Scripted(), [case(raising(ExceptionGroup("x", [ZeroDivisionError()])))])


async def test_a_node_that_is_dead_afterwards_has_failed_and_the_next_case_shows_nothing():
    harness = Scripted(None, "no answer", "no answer")
    results = await play(harness, [case(ending_with(), n) for n in (1, 2)])
    assert [r.verdict for r in results] == [Verdict.FAIL, Verdict.INCONCLUSIVE]
    assert not conforms(results)


async def test_a_node_that_comes_back_is_played_on():
    harness = Scripted(None, "no answer", None)
    results = await play(harness, [case(ending_with(), n) for n in (1, 2)])
    assert [r.verdict for r in results] == [Verdict.FAIL, Verdict.PASS]


async def test_one_probe_lies_between_two_cases_and_none_before_a_skipped_one():
    harness = Scripted(None)
    await play(harness, [case(ending_with(), 1), case(ending_with(), 2)])
    assert harness.n_probes == 3
    harness = Scripted(None)
    (result,) = await play(harness, [case(ending_with(), needs=("moon",))])
    assert (harness.n_probes, result.verdict, result.found) == (0, Verdict.SKIP, "needs the moon")


async def test_a_case_draws_the_same_whichever_was_played_before():
    drawn = []

    async def run(harness):
        drawn.append(harness.rng.random())

    await play(Scripted(), [case(run, 1), case(run, 2)])
    await play(Scripted(), [case(run, 2)])
    assert drawn[1] == drawn[2] != drawn[0]


async def test_what_a_case_opened_is_closed_after_it():
    closed = trio.Event()

    async def run(harness):
        harness.opened.callback(closed.set)

    await play(Scripted(), [case(run)])
    assert closed.is_set()


def test_selection_by_pattern_and_layer():
    cases = [case(ending_with(), n, layer=layer) for n, layer in ((1, "L1"), (2, "L2"), (3, "L3"))]
    assert [c.id for c in select(cases, layer="L2")] == ["CT-X-01", "CT-X-02"]
    assert [c.id for c in select(cases, ["CT-X-03", "*01"])] == ["CT-X-01", "CT-X-03"]
    with pytest.raises(ConfigError, match=r"found 'CT-Y'; allowed: ids and patterns"):
        select(cases, ["CT-Y"])


def test_a_number_is_given_once():
    area = Area("CT-X-Y", "Y", "L1")
    area.add(1, "does it", ["1.1"], ending_with())
    with pytest.raises(ValueError, match="CT-X-Y-01 is there already"):
        area.add(1, "does something else", ["1.1"], ending_with())
