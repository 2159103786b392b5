"""What a peer may send on a link and must take in, and what it cannot make a node hold (spec 9)."""

import contextlib
import tracemalloc

import pytest
import trio
import trio.testing
from examples import EXAMPLES
from listening import SOON, connected, dialed, framed, strangers
from msgspec.structs import replace
from trio.testing import MockClock

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.runtime import sockets
from mdiqkd_net.runtime.limits import LIMITS, Pace
from mdiqkd_net.runtime.link import Link
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import CAPS
from mdiqkd_net.wire.frames import HEADER, SPENT_FRAMES, Sequencer


class Plain:
    """A channel that protects nothing."""

    def __init__(self, stream):
        self.stream = stream
        self.send_all = stream.send_all
        self.receive = stream.receive_some


def header(kind=m.Sift.TYPE, length=0, stream=0, seq=0):
    return HEADER.pack(length, kind, 1, 0, stream, seq, 0)


async def raw_link(server, credentials):
    """A greeted link, and the means to send bytes on it that no `Link` would."""
    link = await dialed(server, credentials("bob"))
    return link, link._stream


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0", "1 bytes of a frame after 0.2 s"),
        (header(length=1 << 20)[:23], "23 bytes of a frame after 0.2 s"),
        (header(length=6 << 10) + b"x", "25 bytes of a frame after 0.39"),
    ],
)
async def test_a_frame_that_does_not_go_on_ends_the_link(listening, credentials, data, words):
    server = await listening()
    link, stream = await raw_link(server, credentials)
    await stream.send_all(data)
    down = await server.reported("link.down")
    assert words in down["reason"]
    await link.close()


async def test_a_trickle_does_not_hold_a_link(listening, credentials):
    """A byte now and then resets no clock: it is the whole frame that is waited for."""
    server = await listening()
    link, stream = await raw_link(server, credentials)
    await stream.send_all(header(length=1 << 10))
    with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
        while not any(event == "link.down" for event, _ in server.events):
            await stream.send_all(b"x")
            await trio.sleep(0.05)  # the trickle itself
    assert "is too slow" in (await server.reported("link.down"))["reason"]
    await link.close()


async def test_a_quiet_link_stays(listening, credentials):
    """Between frames there is no hurry."""
    server = await listening()
    async with connected(server, credentials("bob")) as link:
        await trio.sleep(2 * SOON.body_s)  # longer than any frame may take
        link.send(framed(m.SiftDone(count=3, nonce=bytes(16))))
        with trio.fail_after(5):
            await server.got_frame.wait()


def test_time_in_which_nobody_reads_is_not_the_peers():
    """A reader that computes for long finds the rest of a frame and is content."""

    async def main():
        ours, theirs = trio.testing.memory_stream_pair()
        link = Link(Plain(ours), "bob", strangers("bob"), LIMITS)
        frames = [framed(hello) for hello in 2 * EXAMPLES[:1]]
        await theirs.send_all(frames[0] + frames[1][:30])
        assert await link.next_frame() is not None
        await trio.sleep(3600)  # virtual
        await theirs.send_all(frames[1][30:])
        assert await link.next_frame() is not None

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("length", [(2 << 20) + 1, 2**32 - 1])
async def test_a_length_bomb_is_refused_by_its_header(listening, credentials, length):
    server = await listening()
    link, stream = await raw_link(server, credentials)
    await stream.send_all(header(length=length))
    down = await server.reported("link.down")
    assert f"found {length} body bytes" in down["reason"]
    await link.close()


async def test_no_frame_comes_before_the_greeting(listening, credentials):
    server = await listening()
    tcp = await sockets.dial(server.address, "test", 5.0)
    stream, _ = await credentials("bob").secure(tcp, server_side=False)
    await stream.send_all(header(kind=m.Light.TYPE, length=4 << 20))
    assert "allowed: a greeting" in (await server.reported("link.refused"))["reason"]
    await stream.aclose_forcefully()


async def test_too_many_unknown_frames_end_the_link(listening, credentials):
    server = await listening(replace(SOON, unknown_frames=10))
    link, stream = await raw_link(server, credentials)
    await stream.send_all(10 * header(kind=0x1234))
    await stream.send_all(framed(m.SiftDone(count=3, nonce=bytes(16))))
    with trio.fail_after(5):
        await server.got_frame.wait()
    await stream.send_all(header(kind=0x1234))
    down = await server.reported("link.down")
    assert "found 11 frames of unknown types; allowed: 10" in down["reason"]
    await link.close()


async def test_frames_are_read_at_a_bounded_rate(listening, credentials):
    """Frames beyond those at once take their time; the sender is slowed, nothing is lost."""
    limits = replace(SOON, frames_per_s=400.0, frames_at_once=50)
    server = await listening(limits)
    n_frames = 250
    sender = Sequencer()
    async with connected(server, credentials("bob")) as link:
        began_s = trio.current_time()
        for _ in range(n_frames):
            link.send(sender.seal(m.SiftDone.TYPE, b"", 1).raw)
        await server.receive(n_frames)
        took_s = trio.current_time() - began_s
    assert took_s > 0.9 * (n_frames - limits.frames_at_once) / limits.frames_per_s
    assert await server.reported("link.slowed") == {"peer": "bob"}


def test_a_pace_is_an_average():
    now_s = [0.0]
    pace = Pace(10.0, 5, lambda: now_s[0])
    assert pace.take(5) == 0.0
    assert pace.take(1) == pytest.approx(0.1)
    now_s[0] = 0.1
    assert pace.take(2) == pytest.approx(0.2)
    now_s[0] = 100.0  # a long rest saves up no more than what may come at once
    assert pace.take(5) == 0.0
    assert pace.take(5) == pytest.approx(0.5)


async def test_a_peer_that_does_not_read_loses_its_link(listening, credentials):
    server = await listening(replace(SOON, bytes_per_s=2.0**30))
    link = await dialed(server, credentials("bob"))
    await server.reported("link.up")
    await trio.testing.wait_all_tasks_blocked()
    server.links[0].send(bytes(32 << 20))  # more than any socket takes in
    down = await server.reported("link.down")
    assert "does not take in what is sent" in down["reason"]
    await link.close()


async def test_too_much_for_a_peer_ends_its_link_at_once(listening, credentials):
    server = await listening(replace(LIMITS, queued_bytes=1 << 20))
    link = await dialed(server, credentials("bob"))
    await server.reported("link.up")
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(40):
        server.links[0].send(bytes(1 << 18))
    down = await server.reported("link.down")
    assert "allowed: 1048576" in down["reason"]
    await link.close()


async def test_a_connection_whose_numbers_run_out_makes_room_for_another(listening, credentials):
    """Nothing is at fault: streams above 0 go on, so both sides are told 0x0403."""
    server = await listening()
    link = await dialed(server, credentials("bob"))
    await server.reported("link.up")
    ours = server.links[0]
    ours.sequencer._sent[0] = SPENT_FRAMES
    ours.tell(m.Error(code=0))
    down = await server.reported("link.down")
    assert down["reason"].endswith("stream 0 is out of numbers")
    await link.close()


def test_held_frames_cost_what_has_come_of_them():
    """Links on which the largest body has begun, and goes no further."""
    n_links, claimed = 20, CAPS[m.Light.TYPE]
    hello = framed(EXAMPLES[0])
    begun = header(kind=m.Light.TYPE, length=claimed) + bytes(1000)

    async def held_by(link, theirs):
        await theirs.send_all(hello + begun)
        assert await link.next_frame() is not None
        with pytest.raises(RemoteProtocolError, match="has been silent"):
            await link.next_frame()

    async def main():
        links = []
        for _ in range(n_links + 1):
            ours, theirs = trio.testing.memory_stream_pair()
            link = Link(Plain(ours), "bob", strangers("bob"), LIMITS)
            await held_by(link, theirs)
            links.append(link)
            if len(links) == 1:  # the first fills caches
                tracemalloc.start()
        return tracemalloc.get_traced_memory()[1]

    try:
        peak = trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        tracemalloc.stop()
    assert peak < n_links * claimed / 100
