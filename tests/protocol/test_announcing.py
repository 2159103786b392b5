"""Bell states from clicks; the gate's digest."""

import itertools

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdiqkd_net.blocks import PSI_MINUS, PSI_PLUS, ClickBlock
from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol import announcing
from mdiqkd_net.protocol.announcing import (
    NO_BELL_STATE,
    AnnouncementLog,
    Announcer,
    bell_outcomes,
)
from mdiqkd_net.wire.codec import encode

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def test_a_bell_state_is_one_early_and_one_late_click():
    for clicks in itertools.product((0, 1), repeat=4):
        early, late = clicks[:2], clicks[2:]
        pattern = sum(click << i for i, click in enumerate(clicks))
        if sum(early) != 1 or sum(late) != 1:
            expected = NO_BELL_STATE
        else:
            expected = PSI_PLUS if early.index(1) == late.index(1) else PSI_MINUS
        assert bell_outcomes(np.array([pattern], np.uint8))[0] == expected


def log_of(n_pulses=250, segment_pulses=100, **options):
    return AnnouncementLog(bytes(16), PUBLIC, n_pulses, segment_pulses, **options)


def clicks(segment, pulses, n_elapsed, pattern=9):
    array = np.array(pulses, np.int64)
    return ClickBlock(segment, array, np.full(array.size, pattern, np.uint8), n_elapsed, False)


def test_more_events_or_batches_than_a_user_keeps_are_refused(monkeypatch):
    assert (announcing.MAX_ANNOUNCED, announcing.MAX_BATCHES) == (2**25, 2**20)
    monkeypatch.setattr(announcing, "MAX_BATCHES", 2)
    announcer, log = Announcer(bytes(16), KEY), log_of(most=3)
    batches = [
        announcer.announce(clicks(0, pulses, n))
        for pulses, n in (([5], 20), ([25, 26, 27], 40), ([], 50))
    ]
    log.add(batches[0], encode(batches[0]))
    with pytest.raises(RemoteProtocolError, match=r"found 4 events .* allowed: 3") as too_many:
        log.add(batches[1], encode(batches[1]))
    assert too_many.value.abort_code == announcing.TOO_MANY
    log = log_of(most=4)
    for batch in batches[:2]:
        log.add(batch, encode(batch))
    np.testing.assert_array_equal(log.pulses(), [5, 25, 26, 27])
    with pytest.raises(RemoteProtocolError, match="more than 2 batches") as too_many:
        log.add(batches[2], encode(batches[2]))
    assert too_many.value.abort_code == announcing.TOO_MANY


def test_a_log_follows_segments_and_batches():
    announcer, log = Announcer(bytes(16), KEY), log_of()
    for block in (
        clicks(0, [3, 5], 60),
        clicks(0, [], 80),
        clicks(0, [99], 100),
        clicks(1, [0], 100),
        clicks(2, [49], 50),
    ):
        batch = announcer.announce(block)
        segment, pulses, outcomes = log.add(batch, encode(batch))
        assert segment == block.segment
        np.testing.assert_array_equal(pulses, block.pulses)
        assert (outcomes == PSI_MINUS).all()
    assert log.n_elapsed == 250
    log.close(announcer.close())
    with pytest.raises(RemoteProtocolError, match="after the close"):
        log.add(batch, b"")
    with pytest.raises(RemoteProtocolError, match="second close"):
        log.close(announcer.close())


def test_a_close_before_the_end_of_the_light_is_refused():
    announcer, log = Announcer(bytes(16), KEY), log_of()
    batch = announcer.announce(clicks(0, [3], 100))
    log.add(batch, encode(batch))
    with pytest.raises(RemoteProtocolError, match="cover 100 of 250"):
        log.close(announcer.close())


def test_the_same_list_has_the_same_digest_and_another_has_not():
    logs = [log_of(), log_of(), log_of()]
    for log, pulse in zip(logs, (7, 7, 8), strict=True):
        batch = Announcer(bytes(16), KEY).announce(clicks(0, [pulse], 100))
        log.add(batch, encode(batch))
    key = bytes(range(32))
    assert logs[0].digest(key) == logs[1].digest(key) != logs[2].digest(key)
    assert logs[0].digest(key) != logs[0].digest(bytes(32))
    assert logs[0].n_bytes > 64
