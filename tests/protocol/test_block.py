"""Whole blocks through three cores in memory: keys, refusals, and what an adversary achieves."""

import numpy as np
import pytest
from msgspec.structs import replace
from triangle import SECURITY, SOURCE, Triangle, rewritten, with_message

from mdiqkd_net.errors import AuthenticationError
from mdiqkd_net.params import Security, SourceBounds
from mdiqkd_net.protocol.light import peer_source, source_settings
from mdiqkd_net.protocol.states import State
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.frames import Frame

N_PULSES = 40_000_000


@pytest.fixture(scope="module")
def honest():
    return Triangle(N_PULSES, segment_pulses=15_000_000).run()


def test_an_honest_run_gives_both_users_the_same_key(honest):
    assert honest.alice.ended == honest.bob.ended == ["key"]
    assert honest.alice.keys == honest.bob.keys
    (value,) = honest.alice.keys.values()
    report = honest.alice.report("block.key")
    assert report["secret_bits"] > 1000
    assert len(value) == -(-report["secret_bits"] // 8)
    assert any(value)


def test_both_users_report_the_same_figures(honest):
    alice, bob = (user.report("block.key") for user in (honest.alice, honest.bob))
    assert alice == bob
    assert alice["origin"] == "simulated"
    assert alice["leak_ec_bits"] > 0
    assert 0 < alice["qber_z"] < 0.03
    assert 0.2 < alice["qber_x"] < 0.35


def test_four_pads_are_spent(honest):
    for user in (honest.alice, honest.bob):
        assert user.pads.n_sent == 2
        assert user.pads.received == {0, 1}


def test_settings_are_forgotten_and_the_light_is_off(honest):
    assert not honest.alice.light
    assert not honest.bob.light


def test_nothing_is_revealed_before_both_gates(honest):
    kinds = [(source, kind) for source, _, kind in honest.trace]
    reveals = [i for i, (_, kind) in enumerate(kinds) if kind == m.Sift.TYPE]
    gates = [i for i, (_, kind) in enumerate(kinds) if kind == m.Gate.TYPE]
    closes = [i for i, (_, kind) in enumerate(kinds) if kind == m.AnnouncementsClosed.TYPE]
    assert len(gates) == len(closes) == 2
    assert max(closes) < min(reveals)
    # The trace is in order of delivery: each user reveals only after the peer's gate came in.
    first_of = {source: i for i, (source, kind) in reversed(list(enumerate(kinds))) if i in reveals}
    gate_of = {source: i for i, (source, kind) in enumerate(kinds) if kind == m.Gate.TYPE}
    assert first_of["alice"] > gate_of["bob"]
    assert first_of["bob"] > gate_of["alice"]


def test_blocks_follow_one_another_with_fresh_names():
    triangle = Triangle(N_PULSES, blocks=2).run()
    assert triangle.alice.ended == triangle.bob.ended == ["key", "key"]
    assert len(triangle.alice.keys) == 2
    assert triangle.alice.keys == triangle.bob.keys


def test_one_bell_state_alone_makes_a_shorter_key(honest):
    triangle = Triangle(3 * N_PULSES, bell_states=("psi_minus",)).run()
    assert triangle.alice.keys == triangle.bob.keys
    both = honest.alice.report("block.key")["secret_bits"]
    assert 0 < triangle.alice.report("block.key")["secret_bits"] < 3 * both


def test_a_small_block_makes_no_key_and_says_why():
    triangle = Triangle(200_000).run()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted"]
    assert "X events" in triangle.alice.report("block.aborted")["reason"]
    assert not triangle.alice.held
    assert not triangle.bob.held


def test_an_equivocating_relay_is_found_at_the_gate():
    """Charles signs another list for Bob: one Bell state differs."""

    triangle = Triangle(N_PULSES)
    _equivocate(triangle)
    triangle.run()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted"]
    assert "different things" in triangle.bob.report("block.aborted")["reason"]
    assert not {m.Sift.TYPE, m.SiftDone.TYPE} & {kind for _, _, kind in triangle.trace}


def _equivocate(triangle):
    """Give Bob announcements of which the first outcome is flipped, correctly signed."""
    from mdiqkd_net.protocol.announcing import Announcer, _next_link
    from mdiqkd_net.wire import bulk

    forger = {}

    def tamper(source, target, frame):
        if source != "charles" or target != "bob":
            return frame
        message = decode(frame)
        if isinstance(message, m.PairReady):
            forger["announcer"] = Announcer(message.session, triangle.relay._key)
        if isinstance(message, m.Announcement):
            announcer = forger["announcer"]
            outcomes = bulk.unpack_bits(message.outcomes).copy()
            if message.batch == 0:
                outcomes[0] ^= 1
            lie = replace(message, outcomes=bulk.pack_bits(outcomes))
            announcer._chain = _next_link(announcer._chain, lie)
            announcer.n_batches += 1
            announcer.n_announced += message.pulses.n
            signature = triangle.relay._key.sign(announcer._chain)
            return with_message(frame, replace(lie, signature=signature))
        if isinstance(message, m.AnnouncementsClosed):
            return with_message(frame, forger["announcer"].close())
        return frame

    triangle.tamper = tamper


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (m.Announcement, {"batch": 1}),
        (m.Announcement, {"segment": 1}),
        (m.Announcement, {"base": 5}),
        (m.Announcement, {"covered": 10**12}),
        (m.Announcement, {"signature": bytes(64)}),
        (m.AnnouncementsClosed, {"count": 0}),
        (m.AnnouncementsClosed, {"batches": 0}),
        (m.AnnouncementsClosed, {"signature": bytes(64)}),
        (m.PairReady, {"n_pulses": N_PULSES + 1}),
        (m.PairReady, {"users": ["alice", "carol"]}),
        (m.PairReady, {"segment_pulses": 1}),
    ],
)
def test_what_a_relay_may_not_say_is_refused(kind, fields):
    def tamper(source, target, frame):
        if (source, target) == ("charles", "bob") and frame.kind == kind.TYPE:
            return rewritten(frame, **fields)
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    assert triangle.bob.error is not None
    assert not triangle.bob.held
    assert not triangle.alice.keys


def test_a_relay_that_tells_another_session_is_found_when_the_block_opens():
    def tamper(source, target, frame):
        if (source, target) == ("charles", "bob") and frame.kind == m.PairReady.TYPE:
            return rewritten(frame, pulse_rate_hz=1)
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    assert triangle.alice.ended == triangle.bob.ended == ["aborted"]
    assert "another session" in triangle.bob.report("block.aborted")["reason"]
    assert "0x0203" in triangle.alice.report("block.aborted")["reason"]
    assert triangle.bob.error is None  # it is no fault of the peer
    assert not triangle.alice.light_seen


def test_users_that_disagree_on_the_budget_make_no_block():
    triangle = Triangle(N_PULSES, bob_security=Security(eps_sec=1e-9, eps_cor=1e-10)).run()
    assert "eps_sec: the peer proposes 1e-06; allowed: 1e-09" in str(triangle.bob.error)
    assert SECURITY.eps_sec == 1e-6


TAGGED = (m.Prepare, m.Vote, m.Commit, m.Committed)


@pytest.mark.parametrize("kind", TAGGED, ids=lambda k: k.__name__)
def test_a_wrong_tag_moves_nothing_and_the_right_one_still_counts(kind):
    wrong = []

    def tamper(_source, _target, frame):
        if frame.kind != kind.TYPE or wrong:
            return frame
        wrong.append(frame)
        return rewritten(frame, tag=bytes(16))

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    victim = triangle.bob if kind in (m.Prepare, m.Commit) else triangle.alice
    if kind is m.Prepare:  # what the two users have heard of each other differs: that is the end
        assert victim.ended == ["aborted"]
        assert victim.report("block.aborted")["tag_failures"] == 1
        assert not triangle.alice.keys
        assert not triangle.bob.keys
        return
    assert isinstance(victim.error, AuthenticationError)
    assert not victim.keys
    victim.error = None
    triangle.connect("alice", "bob")
    triangle.pump()
    assert triangle.alice.ended == triangle.bob.ended == ["key"]
    assert triangle.alice.keys == triangle.bob.keys != {}
    assert triangle.alice.pads.n_sent == triangle.bob.pads.n_sent == 2


def test_other_pads_at_one_user_fail_the_tag():
    triangle = Triangle(N_PULSES, pad_seeds=(5, 6)).run()
    assert triangle.bob.report("block.aborted")["tag_failures"] == 1
    assert triangle.alice.ended == ["aborted"]
    assert not triangle.bob.held
    assert not triangle.alice.held


@pytest.mark.parametrize(
    "kind",
    [
        m.Gate,
        m.Sift,
        m.SiftDone,
        m.EstimationBits,
        m.ReconcileStart,
        m.Reconcile,
        m.Verify,
        m.AmplifySeed,
        m.BlockOpen,
    ],
    ids=lambda k: k.__name__,
)
def test_no_change_on_the_way_gives_a_key(kind):
    """Whatever somebody changes on the endpoint link, no user hands out a key."""
    changed = []

    def tamper(source, target, frame):
        if source != "alice" or frame.kind != kind.TYPE or changed:
            return frame
        body = bytearray(frame.body)
        body[-1] ^= 1
        changed.append(kind)
        raw = frame.raw[:24] + bytes(body)
        return Frame(frame.kind, frame.stream, frame.seq, frame.ack, raw)

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    assert changed
    assert not triangle.alice.keys
    assert not triangle.bob.keys


def test_a_refused_message_changes_nothing():
    """A frame that is refused can be followed by the right one."""
    refused = []

    def tamper(source, target, frame):
        if source == "alice" and frame.kind == m.SiftDone.TYPE and not refused:
            core = triangle.bob.core
            before = core.block.state
            wrong = rewritten(frame, count=decode(frame).count + 1)
            with pytest.raises(Exception, match="allowed") as error:
                core.receive_peer(wrong)
            refused.append(error)
            assert core.block.state is before is State.SIFTING
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper)
    triangle.run()
    assert refused
    assert triangle.alice.keys == triangle.bob.keys != {}


def test_secret_values_are_in_no_report(honest):
    (value,) = honest.alice.keys.values()
    text = repr(honest.alice.reports) + repr(honest.alice.held) + repr(honest.bob.core)
    assert value.hex()[:16] not in text
    assert repr(value[:8])[2:-1] not in text


def test_sources_as_they_travel_are_rounded_to_nano():
    triangle = Triangle(N_PULSES)
    plan = triangle.alice.core._plan
    assert plan.agreement.prepared_source == SOURCE
    assert np.isclose(sum(plan.agreement.prepared_source.probabilities), 1.0)


def test_declared_bounds_travel_and_are_rounded_up():
    bounds = SourceBounds(
        x_relative=0.01,
        y_relative=1 / 3,
        vacuum_intensity=1e-12,
        vacuum_light="x",
        phase_nonuniformity=2.5e-9,
        trojan_photons=1e-10,
    )
    declared = replace(SOURCE, bounds=bounds)
    told = peer_source(source_settings(declared))
    assert told.bounds == SourceBounds(
        x_relative=0.01,
        y_relative=0.333333334,
        vacuum_intensity=1e-9,
        vacuum_light="x",
        phase_nonuniformity=3e-9,
        trojan_photons=1e-9,
    )
    assert peer_source(source_settings(told)) == told
    assert peer_source(source_settings(SOURCE)) == SOURCE


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"trojan_photons": 1e-6}, "Trojan-horse leakage"),
        ({"x_relative": 0.6, "y_relative": 0.6}, "cannot separate photon numbers"),
    ],
)
def test_the_bounds_of_a_source_count_at_both_users(bounds, words):
    declared = replace(SOURCE, bounds=SourceBounds(**bounds))
    triangle = Triangle(N_PULSES, segment_pulses=15_000_000, source=declared).run()
    assert not triangle.alice.keys
    assert not triangle.bob.keys
    assert words in triangle.alice.report("block.aborted")["reason"]


def test_a_key_within_bounds_is_shorter(honest):
    declared = replace(SOURCE, bounds=SourceBounds(z_relative=0.01))
    triangle = Triangle(N_PULSES, segment_pulses=15_000_000, source=declared).run()
    assert triangle.alice.keys == triangle.bob.keys != {}
    bits = triangle.alice.report("block.key")["secret_bits"]
    assert 0 < bits < honest.alice.report("block.key")["secret_bits"]
