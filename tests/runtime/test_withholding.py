"""A relay that keeps something back, in virtual time: it costs a block, and nobody waits for ever.

What a relay does not say cannot be told from what it has not yet measured, so the users wait for
`patience_s` from the last word that either of them or the relay has said, and then end the block.
"""

import pytest
import trio

from mdiqkd_net.protocol.relay import Relay
from mdiqkd_net.runtime.charles import ARMING_S
from mdiqkd_net.runtime.optical import LightPlane
from mdiqkd_net.simulation import network
from mdiqkd_net.simulation.seeds import simulate
from mdiqkd_net.wire.messages import Announcement, AnnouncementsClosed, PairReady

PATIENCE_S = 2.0
SEED = 5
"""Draws two users, who want two blocks."""


@pytest.fixture
def run(monkeypatch):
    """Simulate; returns what the users said of their blocks."""
    monkeypatch.setattr(network, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(network, "SAFETY_S", ARMING_S + 10.0)
    monkeypatch.setattr(network, "LIGHT_S", network.COMPUTE_S)
    monkeypatch.setattr(network, "SEGMENT_PULSES", network.N_PULSES // 3)

    def simulated():
        outcome = simulate(SEED, [])
        assert outcome.violations == ()
        return outcome

    return simulated


def said(outcome, user, event):
    """Time and text of every such event, until the network is started again for its end."""
    lines = [line.split(maxsplit=3) for line in outcome.history]
    end = next(i for i, line in enumerate(lines) if line[1] == "all")
    return [
        (float(line[0]), line[3] if len(line) > 3 else "")
        for line in lines[:end]
        if line[1] == user and line[2] == event
    ]


LIST = (Announcement, AnnouncementsClosed)


@pytest.mark.parametrize(
    ("kept", "victims"),
    [
        (LIST, ("alice",)),
        (LIST, ("bob",)),
        (LIST, ("alice", "bob")),
        ((AnnouncementsClosed,), ("alice",)),
        ((PairReady,), ("alice",)),
    ],
)
def test_what_the_relay_keeps_back_costs_one_block(run, monkeypatch, kept, victims):
    send, sessions = Relay._to_both, []

    def withhold(relay, session, message):
        effects = send(relay, session, message)
        sessions.append(session.ready.session)
        if session.ready.session != sessions[0] or not isinstance(message, kept):
            return effects
        return [effect for effect in effects if getattr(effect, "node", None) not in victims]

    monkeypatch.setattr(Relay, "_to_both", withhold)
    outcome = run()
    lost = {user: said(outcome, user, "block.aborted") for user in ("alice", "bob")}
    # Who is not told of a session has opened no block that could be lost.
    assert {user for user in lost if lost[user]} == {"alice", "bob"} - set(
        victims if PairReady in kept else ()
    )
    assert all(len(events) <= 1 for events in lost.values())
    (first_s, reason), *_ = sorted(lost["alice"] + lost["bob"])
    assert "neither the relay nor" in reason
    assert PATIENCE_S < first_s < PATIENCE_S + 1.0
    for user in ("alice", "bob"):
        assert said(outcome, user, "block.key")
        assert not said(outcome, user, "pair.failed")


def test_light_may_take_longer_than_patience(run, monkeypatch):
    """Each segment is a sign of life."""
    measure = LightPlane.measure

    async def slowly(plane, session, users, segments, deliver):
        async def deliver_late(clicks):
            await trio.sleep(0.9 * PATIENCE_S)
            await deliver(clicks)

        await measure(plane, session, users, segments, deliver_late)

    monkeypatch.setattr(LightPlane, "measure", slowly)
    outcome = run()
    for user in ("alice", "bob"):
        assert not said(outcome, user, "block.aborted")
        assert said(outcome, user, "block.key")[0][0] > 2 * PATIENCE_S
