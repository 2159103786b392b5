"""Tags against integer arithmetic, and every way to get one wrong."""

import numpy as np
import pytest
from memory_users import MemoryPads

from mdiqkd_net.errors import AuthenticationError
from mdiqkd_net.protocol.ids import pair_id
from mdiqkd_net.protocol.tags import Transcript, check, seal, tag_context
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.frames import Sequencer

CONTEXT = b"mdiqkd1 tag test"


def granted(lower, kind=MemoryPads):
    """Pads of one user, with a lease on both sides."""
    pads = kind(9, lower=lower)
    pads.accept_lease(*pads.grant(0))
    return pads


def frames(seed, n):
    rng, sequencer = np.random.default_rng(seed), Sequencer()
    return [sequencer.seal(0x8301, rng.bytes(int(rng.integers(0, 90)))) for _ in range(n)]


def transcripts(forth, back):
    ours, theirs = Transcript(), Transcript()
    for frame in forth:
        ours.add_sent(frame)
        theirs.add_received(frame)
    for frame in back:
        ours.add_received(frame)
        theirs.add_sent(frame)
    return ours, theirs


def poly1305(r, message):
    """RFC 8439 2.5 in plain integers, with s = 0."""
    number = int.from_bytes(r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        block = message[start : start + 16] + b"\1"
        total = (total + int.from_bytes(block, "little")) * number % (2**130 - 5)
    return total % 2**128


def test_a_tag_is_the_sum_of_two_polynomials_and_a_pad():
    forth, back = frames(1, 4), frames(2, 3)
    ours, _ = transcripts(forth, back)
    index, tag = ours.seal(granted(lower=True), CONTEXT)
    fresh = granted(lower=True)
    _, pad = fresh.take_send()
    bound = CONTEXT + index.to_bytes(8, "little")
    first = b"".join(f.raw for f in forth) + bound + len(bound).to_bytes(8, "little")
    second = b"".join(f.raw for f in back) + bytes(8)
    total = int.from_bytes(pad, "little")
    total += poly1305(fresh.send_keys[0], first) + poly1305(fresh.send_keys[1], second)
    assert tag == (total % 2**128).to_bytes(16, "little")


def sealed():
    forth, back = frames(1, 4), frames(2, 3)
    ours, theirs = transcripts(forth, back)
    index, tag = ours.seal(granted(lower=True), CONTEXT)
    return theirs, index, tag


def test_the_peer_accepts_until_the_pad_is_burnt():
    theirs, index, tag = sealed()
    pads = granted(lower=False)
    theirs.check(pads, CONTEXT, index, tag)
    pads.burn_receive(index)
    with pytest.raises(AuthenticationError):
        theirs.check(pads, CONTEXT, index, tag)  # a pad is used once


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t, i, tag: (t, CONTEXT, i, bytes([tag[0] ^ 1]) + tag[1:]),
        lambda t, i, tag: (t, CONTEXT, i + 1, tag),
        lambda t, i, tag: (t, CONTEXT + b"x", i, tag),
        lambda t, i, tag: (t.forget_received() or t, CONTEXT, i, tag),
        lambda t, i, tag: (t.add_sent(frames(5, 1)[0]) or t, CONTEXT, i, tag),
        lambda t, i, tag: (t, CONTEXT, 999, tag),
    ],
)
def test_anything_else_is_refused_without_a_word_why(spoil):
    theirs, context, index, tag = spoil(*sealed())
    with pytest.raises(AuthenticationError, match=r"^authentication failed$"):
        theirs.check(granted(lower=False), context, index, tag)


def test_swapped_directions_are_another_transcript():
    forth, back = frames(1, 4), frames(2, 3)
    ours, _ = transcripts(forth, back)
    swapped, _ = transcripts(forth, back)
    index, tag = ours.seal(granted(lower=True), CONTEXT)
    with pytest.raises(AuthenticationError):
        swapped.check(granted(lower=False), CONTEXT, index, tag)


def test_pads_are_wiped_after_use():
    class Watched(MemoryPads):
        def take_send(self):
            index, self.pad = super().take_send()
            return index, self.pad

    pads = granted(lower=True, kind=Watched)
    Transcript().seal(pads, CONTEXT)
    assert pads.pad == bytes(16)


def test_a_decision_is_tagged_by_its_context_alone():
    index, tag = seal(granted(lower=True), CONTEXT)
    check(granted(lower=False), CONTEXT, index, tag)
    assert (index, tag) == Transcript().seal(granted(lower=True), CONTEXT)
    with pytest.raises(AuthenticationError):
        check(granted(lower=False), CONTEXT + b"x", index, tag)


def test_a_context_names_the_message_its_sender_the_pair_the_block_and_the_length():
    names = {
        tag_context(kind.TYPE, pair_id(users), block_id, bits, by_coordinator=by_coordinator)
        for users in (("alice", "bob"), ("alice", "carol"))
        for block_id in (bytes(16), b"x" * 16)
        for bits in (256, 512)
        for kind in (m.Prepare, m.Vote, m.Commit, m.Committed, m.CommitAborted)
        for by_coordinator in (True, False)
    }
    assert len(names) == 2 * 2 * 2 * 5 * 2
