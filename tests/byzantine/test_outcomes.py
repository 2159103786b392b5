"""Every behaviour against two real cores, with the outcome that the registry promises.

The registry names the test of each behaviour; test_registry.py holds the two against each other.
"""

from functools import partial

import hostile
import pytest
from hostile import HostileTriangle
from triangle import Triangle

from mdiqkd_net.byzantine import BEHAVIOURS
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.monitoring.watch import RELAY_ENDS, Watch
from mdiqkd_net.protocol import announcing
from mdiqkd_net.protocol.credit import Unread

SHORT = 4_000_000
TINY = {"n_pulses": 200_000, "segment_pulses": 50_000}

VIOLATIONS = [n for n, c in BEHAVIOURS.items() if c.outcome == "violation" and n != "late"]
SILENT = ("withhold", "withhold_from_one", "wait_for_reveal", "slow_loris")
COUNTED = [name for name, c in BEHAVIOURS.items() if c.monitors == ("MON-09",)]
NO_KEY = (
    "swap_labels",
    "random_labels",
    "invent",
    "dark_relay",
    "z_only",
    "intercept_resend",
    "photon_number",
    "blinding",
)
SHORTER = ("post_select", "time_selection", "efficiency_mismatch")


@pytest.fixture(scope="module")
def honest():
    return Triangle(40_000_000).run()


def assert_safe(triangle):
    """Never different keys, never a key at one user alone that the other denies, never a wait."""
    alice, bob = triangle.alice, triangle.bob
    assert alice.keys == bob.keys
    assert alice.core.block is None or alice.core.block.ended
    assert bob.core.block is None or bob.core.block.ended
    assert not triangle._flight


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_every_behaviour_is_run_by_the_test_that_it_names(name):
    test = globals()[BEHAVIOURS[name].test]
    (mark,) = [mark for mark in test.pytestmark if mark.name == "parametrize"]
    assert name in [row if isinstance(row, str) else row[0] for row in mark.args[1]]


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_refused_with_its_code(name):
    blocks = 2 if name == "replay_session" else 1
    # Only so many pulses make more announcements than may wait.
    n_pulses = 5 * SHORT if name == "overdraw" else SHORT
    triangle = HostileTriangle(name, n_pulses, blocks=blocks).run()
    assert triangle.refused
    for error in triangle.refused.values():
        assert error.abort_code == BEHAVIOURS[name].code, error
    ended = [user.ended[-1:] for user in (triangle.alice, triangle.bob)]
    # Who is told of a session that is not its own has no block to end.
    assert ended == [["aborted"], [] if name == "misbind" else ["aborted"]]
    assert triangle.revealed == (name == "replay_session")  # the first session is honest
    assert_safe(triangle)
    assert not triangle.alice.keys


@pytest.mark.parametrize("name", ["late"])
def test_words_after_the_close_cost_the_link_alone(name):
    triangle = HostileTriangle(name).run()
    for error in triangle.refused.values():
        assert error.abort_code == BEHAVIOURS[name].code, error
    assert set(triangle.refused) == {"alice", "bob"}
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    assert_safe(triangle)


@pytest.mark.parametrize("name", ["equivocate", "equivocate_pulses"])
def test_two_stories_end_the_block_before_anything_is_revealed(name):
    triangle = HostileTriangle(name, SHORT).run()
    assert not triangle.refused
    assert triangle.alice.ended == triangle.bob.ended == ["aborted"]
    assert "different things" in triangle.bob.report("block.aborted")["reason"]
    assert "0x0502" in triangle.alice.report("block.aborted")["reason"]
    assert not triangle.revealed
    assert_safe(triangle)


def test_one_lie_in_one_event_is_enough_and_the_next_block_goes_on():
    extent = Extent(sessions=1, share=1e-9)
    triangle = HostileTriangle("equivocate", extent=extent, blocks=2).run()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted", "key"]
    assert_safe(triangle)
    assert len(triangle.alice.keys) == 1


@pytest.mark.parametrize("name", ["other_parameters"])
def test_other_parameters_are_found_when_the_block_opens(name):
    triangle = HostileTriangle(name, SHORT).run()
    assert not triangle.refused
    assert "another session" in triangle.bob.report("block.aborted")["reason"]
    assert f"{BEHAVIOURS[name].code:#06x}" in triangle.alice.report("block.aborted")["reason"]
    assert triangle.alice.ended == triangle.bob.ended == ["aborted"]
    assert not triangle.alice.light_seen
    assert_safe(triangle)


@pytest.mark.parametrize("name", SILENT)
def test_silence_costs_a_block_and_reveals_nothing(name):
    triangle = HostileTriangle(name, SHORT)
    Triangle.run(triangle)
    assert not triangle.alice.ended
    assert not triangle.bob.ended
    triangle.lose_patience()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted"]
    assert not triangle.refused
    assert not triangle.revealed
    assert_safe(triangle)


def test_after_a_silent_session_the_next_block_makes_its_key():
    triangle = HostileTriangle("wait_for_reveal", extent=Extent(sessions=1), blocks=2).run()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted", "key"]
    assert_safe(triangle)


@pytest.mark.parametrize("name", NO_KEY)
def test_lies_about_the_light_leave_no_key(name):
    triangle = HostileTriangle(name).run()
    assert not triangle.refused
    assert triangle.alice.ended == triangle.bob.ended == ["aborted"]
    code, reason = BEHAVIOURS[name].code, triangle.bob.report("block.aborted")["reason"]
    assert ("verification" if code is None else f"{code:#06x}") in reason
    assert triangle.revealed
    assert not triangle.alice.held
    assert not triangle.bob.held
    assert_safe(triangle)


@pytest.mark.parametrize("name", SHORTER)
def test_choosing_among_events_costs_rate_alone(name, honest):
    triangle = HostileTriangle(name, 120_000_000).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    # Per pulse: three times the light, so that what is left is enough for a key.
    bits = triangle.alice.report("block.key")["secret_bits"]
    assert 0 < bits < 3 * honest.alice.report("block.key")["secret_bits"]
    assert_safe(triangle)


@pytest.mark.parametrize("name", ["swap_labels", "invent"])
def test_few_lies_are_charged_and_the_keys_are_the_same(name, honest):
    triangle = HostileTriangle(name, extent=Extent(share=0.002)).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    bits = triangle.alice.report("block.key")["secret_bits"]
    assert 0 < bits < honest.alice.report("block.key")["secret_bits"]
    assert_safe(triangle)


@pytest.mark.parametrize("name", ["flood"])
def test_a_flood_of_empty_batches_changes_nothing(name):
    triangle = HostileTriangle(name, segment_pulses=15_000_000).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    assert triangle.alice.core.block._ctx.log.n_batches > 30 * 20
    alone = Triangle(40_000_000, segment_pulses=15_000_000).run()
    assert triangle.alice.report("block.key")["n"] == alone.alice.report("block.key")["n"]
    assert_safe(triangle)


def test_a_flood_is_bounded(monkeypatch):
    monkeypatch.setattr(announcing, "MAX_BATCHES", 200)
    triangle = HostileTriangle("flood", SHORT).run()
    assert "more than 200 batches" in str(triangle.refused["alice"])
    assert_safe(triangle)


def test_more_events_than_there_is_memory_for_cost_their_block_alone():
    formula = Analysis(method="asymptotic")  # gives some bits of so short a block
    triangle = HostileTriangle(
        "overdraw",
        SHORT,
        extent=Extent(sessions=1),
        blocks=2,
        session_events=SHORT // 2,
        alice_analysis=formula,
        bob_analysis=formula,
    ).run()
    for user in (triangle.alice, triangle.bob):
        assert triangle.refused[user.name].abort_code == announcing.TOO_MANY
        assert "events in a session" in str(triangle.refused[user.name])
        assert user.ended == ["aborted", "key"]
    assert_safe(triangle)


@pytest.mark.parametrize("name", ["cut", "flap"])
def test_links_that_are_cut_cost_time_alone(name, honest):
    triangle = HostileTriangle(name).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    # Settings differ, as other numbers were drawn; ten standard deviations are allowed.
    n_z, alone = (t.alice.report("block.key")["n"]["zz"] for t in (triangle, honest))
    assert abs(n_z - alone) < 10.0 * (2.0 * alone) ** 0.5
    assert ("user.disconnected", "alice") in [
        (event, fields.get("user")) for event, fields in triangle.relay_reports
    ]
    assert_safe(triangle)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("abort_often", "relay ended the session"), ("start_anew", "relay started anew")],
)
def test_sessions_that_are_called_off_cost_their_blocks_alone(name, reason):
    triangle = HostileTriangle(name, extent=Extent(sessions=2), blocks=3).run()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted", "aborted", "key"]
    assert reason in triangle.bob.report("block.aborted")["reason"]
    assert_safe(triangle)


@pytest.mark.parametrize("name", COUNTED)
def test_the_monitors_count_how_blocks_end(name, monkeypatch):
    """An equivocation pages at once, whatever else the relay spoils after a few blocks."""
    blocks = 1 if name.startswith("equivocate") else RELAY_ENDS + 2
    # The harness has no tick of a clock between blocks; six an hour make a long day.
    # Tiny blocks would not overdraw more.
    monkeypatch.setattr(hostile, "Unread", partial(Unread, 1 << 15))
    triangle = HostileTriangle(name, blocks=blocks, **TINY).run()
    alarms = set()
    for ended in triangle.observed.values():
        watch = Watch()
        found = [watch.observe(block, 600.0 * i) for i, block in enumerate(ended)]
        alarms |= {alarm.monitor for one in found for alarm in one.alarms}
    assert alarms == {"MON-09"}
    assert not triangle.alice.keys
    assert_safe(triangle)


@pytest.mark.parametrize("name", ["starve"])
def test_the_first_pair_is_never_starved(name):
    triangle = HostileTriangle(name).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    assert_safe(triangle)


def test_a_session_that_is_left_alone_is_honest():
    extent = Extent(first_session=2)
    triangle = HostileTriangle("equivocate", extent=extent, blocks=2).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key", "aborted"]
    assert_safe(triangle)


def test_every_report_of_a_hostile_relay_says_what_it_is():
    triangle = HostileTriangle("equivocate", SHORT).run()
    assert {fields["byzantine"] for _, fields in triangle.relay_reports} == {"equivocate"}
    assert len(triangle.relay_reports) > 4
