"""Every behaviour against two real cores, with the outcome that the registry promises."""

import pytest
from hostile import HostileTriangle
from triangle import Triangle

from mdiqkd_net.byzantine import BEHAVIOURS
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.protocol import announcing

SHORT = 4_000_000
SEGMENT = 1_000_000

VIOLATIONS = [name for name, c in BEHAVIOURS.items() if c.outcome == ("violation",)]
SILENT = ("withhold", "withhold_from_one", "wait_for_reveal", "slow_loris")
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


def test_every_behaviour_has_a_test_here():
    tested = {*VIOLATIONS, *SILENT, *NO_KEY, *SHORTER}
    tested |= {"equivocate", "equivocate_pulses", "other_parameters"}
    tested |= {"flood", "cut", "abort_often", "starve"}
    assert tested == set(BEHAVIOURS)


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_refused_with_its_code(name):
    blocks = 2 if name == "replay_session" else 1
    triangle = HostileTriangle(name, SHORT, blocks=blocks).run()
    assert triangle.refused
    for error in triangle.refused.values():
        assert error.abort_code == BEHAVIOURS[name].code, error
    ended = [user.ended[-1:] for user in (triangle.alice, triangle.bob)]
    # Who is told of a session that is not its own has no block to end.
    assert ended == [["aborted"], [] if name == "misbind" else ["aborted"]]
    assert triangle.revealed == (name == "replay_session")  # the first session is honest
    assert_safe(triangle)
    assert not triangle.alice.keys


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


def test_other_parameters_are_found_when_the_block_opens():
    triangle = HostileTriangle("other_parameters", SHORT).run()
    error = triangle.refused["bob"]
    assert "session_digest" in str(error)
    assert error.abort_code == BEHAVIOURS["other_parameters"].code
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


@pytest.mark.parametrize("name", ["swap_labels", "random_labels", "invent"])
def test_few_lies_are_charged_and_the_keys_are_the_same(name, honest):
    triangle = HostileTriangle(name, extent=Extent(share=0.002)).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    bits = triangle.alice.report("block.key")["secret_bits"]
    assert 0 < bits < honest.alice.report("block.key")["secret_bits"]
    assert_safe(triangle)


def test_a_flood_of_empty_batches_changes_nothing():
    triangle = HostileTriangle("flood", segment_pulses=15_000_000).run()
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


def test_past_the_gate_the_relay_is_not_needed():
    triangle = HostileTriangle("cut").run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    assert ("user.disconnected", "alice") in [
        (event, fields.get("user")) for event, fields in triangle.relay_reports
    ]
    assert_safe(triangle)


def test_sessions_that_are_called_off_cost_their_blocks_alone():
    triangle = HostileTriangle("abort_often", extent=Extent(sessions=2), blocks=3).run()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted", "aborted", "key"]
    assert "relay ended the session" in triangle.bob.report("block.aborted")["reason"]
    assert_safe(triangle)


def test_the_first_pair_is_never_starved():
    triangle = HostileTriangle("starve").run()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    assert_safe(triangle)


def test_a_session_that_is_left_alone_is_honest():
    extent = Extent(first_session=2)
    triangle = HostileTriangle("swap_labels", extent=extent, blocks=2).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key", "aborted"]
    assert_safe(triangle)


def test_every_report_of_a_hostile_relay_says_what_it_is():
    triangle = HostileTriangle("equivocate", SHORT).run()
    assert {fields["byzantine"] for _, fields in triangle.relay_reports} == {"equivocate"}
    assert len(triangle.relay_reports) > 4
