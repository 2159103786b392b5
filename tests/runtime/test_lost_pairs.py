"""Peers that are away for longer than patience, in virtual time: no node has to start again."""

import trio

from mdiqkd_net.runtime import charles
from mdiqkd_net.runtime.optical import LightPlane
from mdiqkd_net.simulation import network
from mdiqkd_net.simulation.faults import Fault
from mdiqkd_net.simulation.seeds import simulate

PATIENCE_S = 2.0
SEED = 11
"""Draws three users, whose nodes go on with what they remember when faults have ended."""


def said(outcome, node, what):
    """Time and text of every line of a node that begins so."""
    lines = [line.split(maxsplit=2) for line in outcome.history]
    return [(float(s), text) for s, of, text in lines if of == node and text.startswith(what)]


def test_a_peer_that_comes_back_late_is_taken_up_again(monkeypatch):
    """Carol is ended whenever she starts; Alice and Bob go on, and need not be started again."""

    async def away(site, _rng):
        await trio.sleep(1.0)
        while True:
            site.crash("carol", "ended")
            await trio.sleep(0.01)

    monkeypatch.setattr(network, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(charles, "ARMING_S", 1.0)  # that others have their turn soon
    monkeypatch.setattr(network, "FAULTS", {"away": Fault("carol cannot stay", away)})
    outcome = simulate(SEED, ["away"])
    assert outcome.violations == ()  # and in peace every pair has made a key
    for user in ("alice", "bob"):
        assert len(said(outcome, user, "starts")) == 1
        ((lost_s, why),) = said(outcome, user, "pair.lost")
        ((back_s, _),) = said(outcome, user, "pair.back")
        assert "carol did not connect within 2 s" in why
        assert lost_s >= 1.0 + PATIENCE_S
        assert back_s > network.SAFETY_S
        assert any(lost_s < key_s < back_s for key_s, _ in said(outcome, user, "block.key"))


def test_who_waits_long_for_a_turn_says_so_once(monkeypatch):
    measure = LightPlane.measure

    async def slowly(plane, session, users, segments, deliver):
        await trio.sleep(4 * PATIENCE_S)
        await measure(plane, session, users, segments, deliver)

    monkeypatch.setattr(network, "PATIENCE_S", 5 * PATIENCE_S)
    monkeypatch.setattr(LightPlane, "measure", slowly)
    outcome = simulate(SEED, [])
    assert outcome.violations == ()
    for user in network.USERS:
        waits = said(outcome, user, "pair.waiting")
        n_sessions = sum("stage=opened" in text for _, text in said(outcome, user, "block.stage"))
        assert 0 < len(waits) <= n_sessions + 2
        assert not said(outcome, user, "pair.lost")
