"""The credit window, from both ends."""

import pytest

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.credit import GRANT_BYTES, WINDOW_BYTES, Granted, Outstanding, Unread
from mdiqkd_net.wire.frames import HEADER_BYTES, Sequencer
from mdiqkd_net.wire.messages import Announcement, PairAborted


def test_more_than_was_granted_is_refused():
    granted = Granted()
    granted.require(WINDOW_BYTES)
    with pytest.raises(RemoteProtocolError, match="before the next credit") as refused:
        granted.require(WINDOW_BYTES + 1)
    assert refused.value.abort_code == 0x0401


def test_what_is_taken_in_is_granted_again_in_portions():
    granted, outstanding = Granted(), Outstanding()
    frame = GRANT_BYTES // 3 + 1
    for _ in range(100):
        granted.require(frame)
        outstanding.sent(frame)
        for credit in granted.take(frame):
            assert credit.n_bytes >= GRANT_BYTES
            outstanding.granted(credit.n_bytes)
        assert outstanding.has_room


def test_what_waits_to_be_taken_in_is_bounded():
    sequencer, unread = Sequencer(), Unread()
    body = bytes(WINDOW_BYTES // 2 - HEADER_BYTES)
    first, second, third = (sequencer.seal(Announcement.TYPE, body, 1) for _ in range(3))
    unread.came(first)
    unread.came(second)
    with pytest.raises(RemoteProtocolError, match="wait to be taken in") as refused:
        unread.came(third)
    assert refused.value.abort_code == 0x0401
    unread.came(sequencer.seal(PairAborted.TYPE, body, 1))  # other messages need no credit
    unread.came(sequencer.seal(Announcement.TYPE, body, 2))  # another session has its own
    unread.taken(first)
    unread.came(third)


def test_a_relay_stops_while_the_largest_batch_might_not_fit():
    outstanding = Outstanding()
    outstanding.sent(WINDOW_BYTES - Announcement.CAP)
    assert outstanding.has_room
    outstanding.sent(1)
    assert not outstanding.has_room
    with pytest.raises(RemoteProtocolError, match="which were sent"):
        outstanding.granted(WINDOW_BYTES)
