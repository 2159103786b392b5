"""Pings in virtual time: who is there stays, who is not is found (spec 4.6, CHAOS-06)."""

import secrets
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from mdiqkd_net.errors import RemoteProtocolError, WireError
from mdiqkd_net.protocol.correspondence import LINK_LOST, Correspondence
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.runtime.limits import Limits
from mdiqkd_net.runtime.link import HIGH_WATER_BYTES, LOST_AFTER_S, PING_AFTER_S, Link
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer
from mdiqkd_net.wire.messages import Ping, Pong, Resume

WORD = Resume(blocks=[], next_block=1)


@dataclass
class Plain:
    """A channel that encrypts nothing, and counts what came."""

    stream: trio.abc.Stream
    n_received: int = 0

    async def send_all(self, data):
        await self.stream.send_all(data)

    async def receive(self):
        data = await self.stream.receive_some(1 << 16)
        self.n_received += len(data)
        return bytes(data)

    async def aclose_forcefully(self):
        await trio.aclose_forcefully(self.stream)


AS_LONG_AS_IT_TAKES = Limits(header_s=3600.0, body_s=3600.0)


@pytest.fixture
async def ends():
    """Two ends of a link that have greeted each other; nobody reads or writes yet."""
    names = ("alice", "bob")
    channels = [Plain(stream) for stream in trio.testing.memory_stream_pair()]
    links = [
        Link(channel, peer, Correspondence(secrets.token_bytes), AS_LONG_AS_IT_TAKES)
        for channel, peer in zip(channels, names[::-1], strict=True)
    ]
    async with trio.open_nursery() as nursery:
        for link, name in zip(links, names, strict=True):
            expected = Expected("endpoint", names)
            nursery.start_soon(link.greet, name, "endpoint", expected, secrets.token_bytes)
    return links, channels


async def test_a_link_on_which_nobody_has_anything_to_say_stays(ends, nursery, autojump_clock):
    links, channels = ends
    for link in links:
        nursery.start_soon(link.write)
        nursery.start_soon(link.next_frame)
    before = [channel.n_received for channel in channels]
    await trio.sleep(3600)
    for channel, n_received in zip(channels, before, strict=True):
        # A question and an answer in 15 s at most; greater numbers are longer by some bytes.
        n_frames = (channel.n_received - n_received) / len(frame_of(Ping(n=1)))
        assert 3600 / LOST_AFTER_S < n_frames < 1.1 * 2 * 3600 / PING_AFTER_S
    links[0].tell(WORD)
    links[1].tell(WORD)
    nursery.cancel_scope.cancel()


def frame_of(message):
    return Sequencer().seal(message.TYPE, encode(message)).raw


@pytest.mark.parametrize("writes", [True, False])
async def test_a_peer_that_is_gone_without_a_word_is_found(ends, nursery, autojump_clock, writes):
    link = ends[0][0]
    nursery.start_soon(link.write)
    if writes:
        link.tell(WORD)
    began = trio.current_time()
    with pytest.raises(RemoteProtocolError, match="bob has been silent for 45 s") as caught:
        await link.next_frame()
    assert caught.value.abort_code == LINK_LOST
    assert trio.current_time() - began == pytest.approx(LOST_AFTER_S)
    nursery.cancel_scope.cancel()


async def test_any_byte_is_a_sign_of_life_and_half_a_frame_is_kept(ends, nursery, autojump_clock):
    link, channel = ends[0][0], ends[1][1]
    nursery.start_soon(link.write)
    sequencer = Sequencer()
    sequencer.seal(WORD.TYPE, encode(WORD))  # as if it were the Hello
    whole = sequencer.seal(WORD.TYPE, encode(WORD)).raw

    async def trickle():
        for at in range(len(whole)):
            await trio.sleep(LOST_AFTER_S - 1)
            await channel.send_all(whole[at : at + 1])

    nursery.start_soon(trickle)
    frame = await link.next_frame()
    assert frame is not None
    assert frame.raw == whole
    nursery.cancel_scope.cancel()


async def test_a_ping_is_answered_unless_much_is_on_its_way(ends, nursery):
    link, channel = ends[0][0], ends[1][1]
    nursery.start_soon(link.next_frame)
    sequencer = Sequencer()
    sequencer.seal(WORD.TYPE, encode(WORD))
    await channel.send_all(sequencer.seal(Ping.TYPE, encode(Ping(n=7))).raw)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(link.write)
    assert (await channel.receive()).endswith(encode(Pong(n=7)))
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()  # nobody reads or writes any more
    link.send(bytes(HIGH_WATER_BYTES))
    n_bytes = link.n_bytes
    async with trio.open_nursery() as reading:
        reading.start_soon(link.next_frame)
        await channel.send_all(sequencer.seal(Ping.TYPE, encode(Ping(n=8))).raw)
        await trio.testing.wait_all_tasks_blocked()
        reading.cancel_scope.cancel()
    assert link.n_bytes == n_bytes + len(frame_of(Ping(n=8)))


async def test_a_ping_out_of_sequence_is_refused(ends):
    link, channel = ends[0][0], ends[1][1]
    await channel.send_all(frame_of(Ping(n=1)))  # frame 0 was the Hello
    with pytest.raises(WireError, match="found frame 0"):
        await link.next_frame()
