"""Which scheme a block is reconciled by, and who may say so."""

import msgspec
import numpy as np
import pytest
from memory_users import Random
from triangle import Triangle

from mdiqkd_net.errors import LocalProtocolError, RemoteProtocolError
from mdiqkd_net.postprocessing.reconcile import RECONCILERS
from mdiqkd_net.protocol import reconciling
from mdiqkd_net.protocol.reconciling import KeyReconciliation, RoundTrips
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import decode

N_PULSES = 60_000_000
N_BITS = 5000


def reconciliation(*, corrects, reconciler="auto"):
    bits = np.random.default_rng(1).integers(0, 2, N_BITS, dtype=np.uint8)
    if corrects:
        bits[::50] ^= 1
    return KeyReconciliation(
        bits, corrects=corrects, reconciler=reconciler, qber=0.02, entropy=Random(2)
    )


def test_the_shortest_of_the_last_round_trips_counts():
    trips = RoundTrips()
    assert trips.shortest_s == 0.0
    for time_s in (0.5, 0.02, 0.03):
        trips.add(time_s)
    assert trips.shortest_s == 0.02
    for _ in range(8):
        trips.add(0.3)
    assert trips.shortest_s == 0.3


@pytest.mark.parametrize("round_trip_s", [0.0, 0.3])
def test_auto_takes_what_the_round_trip_asks_for_and_both_users_say_so(round_trip_s):
    said = []

    def listen(source, _target, frame):
        if frame.kind == m.ReconcileStart.TYPE:
            said.append((source, decode(frame).scheme))
        return frame

    triangle = Triangle(
        N_PULSES, reconciler="auto", round_trip_s=round_trip_s, tamper=listen, blocks=2
    ).run()
    assert [speaker for speaker, _ in said] == ["alice", "alice"]
    first, scheme = (scheme for _, scheme in said)
    # Of the error rate of a first block there is only a guess, which LDPC would not bear.
    assert first.startswith("cascade")
    assert (scheme == "ldpc") == (round_trip_s > 0.0)
    assert triangle.alice.keys
    assert triangle.alice.keys == triangle.bob.keys
    for user in (triangle.alice, triangle.bob):
        assert user.report("block.reconciled")["scheme"] == scheme
        assert user.report("block.key")["scheme"] == scheme
    assert triangle.alice.report("block.reconciled")["round_trip_s"] == round_trip_s
    assert triangle.bob.report("block.reconciled")["round_trip_s"] is None


@pytest.mark.parametrize(
    ("rtt_s", "light_s", "budget_bits", "scheme"),
    [
        (1e-6, 10.0, N_BITS, "cascade_low_rounds"),  # a short block: the least fixed leak
        (0.1, 10.0, N_BITS, "ldpc"),
        (0.1, 0.0, 0.12 * N_BITS, "cascade_low_rounds"),  # none leaves a key: the least leak
    ],
)
def test_the_choice_knows_the_block(rtt_s, light_s, budget_bits, scheme):
    coordinator = reconciliation(corrects=False)
    coordinator.choose(rtt_s=rtt_s, light_s=light_s, budget_bits=budget_bits)
    assert coordinator.scheme == scheme


@pytest.mark.parametrize("scheme", sorted(RECONCILERS))
def test_a_name_overrides_the_choice(scheme):
    coordinator = reconciliation(corrects=False, reconciler=scheme)
    coordinator.choose(rtt_s=10.0, light_s=0.0, budget_bits=N_BITS)
    assert coordinator.scheme == scheme
    coordinator.choose(rtt_s=0.0, light_s=1e6, budget_bits=N_BITS)
    assert coordinator.scheme == scheme


@pytest.mark.parametrize(("scheme", "told"), [("ldpc", 0.01), ("cascade", 0.02)])
def test_a_scheme_that_suffers_from_too_high_a_guess_is_told_less(scheme, told):
    coordinator = reconciliation(corrects=False, reconciler=scheme)
    for guessed, qber in ((True, told), (False, 0.02)):
        coordinator.choose(rtt_s=0.0, light_s=0.0, budget_bits=N_BITS, guessed=guessed)
        start, *_ = coordinator.start()
        assert start.qber == round(qber * 1e9)


@pytest.mark.parametrize("scheme", sorted(RECONCILERS))
def test_a_participant_on_auto_takes_any_scheme(scheme):
    start, *_ = reconciliation(corrects=False, reconciler=scheme).start()
    participant = reconciliation(corrects=True)
    assert participant.started(start)
    assert participant.scheme == scheme


@pytest.mark.parametrize(
    ("configured", "named", "words"),
    [
        ("auto", "winnow", "found 'winnow'; allowed: cascade, cascade_low_rounds, ldpc"),
        ("auto", "auto", "found 'auto'"),
        ("cascade", "ldpc", "found 'ldpc'; allowed: cascade$"),
    ],
)
def test_a_participant_refuses_what_is_not_configured_and_stays_as_it_was(configured, named, words):
    start, *_ = reconciliation(corrects=False, reconciler="cascade").start()
    participant = reconciliation(corrects=True, reconciler=configured)
    with pytest.raises(RemoteProtocolError, match=words):
        participant.started(msgspec.structs.replace(start, scheme=named))
    assert participant.scheme == (None if configured == "auto" else configured)
    assert participant.started(start)


def test_one_scheme_serves_all_chunks_of_a_block(monkeypatch):
    monkeypatch.setattr(reconciling, "CHUNK_BITS", N_BITS // 2)
    coordinator, participant = reconciliation(corrects=False), reconciliation(corrects=True)
    coordinator.choose(rtt_s=1.0, light_s=0.0, budget_bits=N_BITS)
    first, *rounds = coordinator.start()
    answers = participant.started(first)
    while True:
        rounds += [reply for message in answers for reply in coordinator.step(message)]
        second = next((r for r in rounds if isinstance(r, m.ReconcileStart)), None)
        ours = rounds if second is None else rounds[: rounds.index(second)]
        answers = [reply for message in ours for reply in participant.step(message)]
        if second is not None:
            break
        rounds = []
    assert first.scheme == second.scheme == "ldpc"
    with pytest.raises(RemoteProtocolError, match="found 'cascade'; allowed: ldpc"):
        participant.started(msgspec.structs.replace(second, scheme="cascade"))
    assert participant.started(second)


def test_nothing_starts_without_a_scheme():
    with pytest.raises(LocalProtocolError, match="found no scheme"):
        reconciliation(corrects=False).start()
