"""What strangers and peers can do to a node on real sockets, and what they cannot (spec 9)."""

import contextlib
import os
import resource
import secrets
import socket
import tracemalloc
from pathlib import Path

import pytest
import trio
import trio.testing
from examples import EXAMPLES
from listening import (
    Server,
    connected,
    dialed,
    framed,
    open_descriptors,
    read_to_the_end,
    strangers,
)
from msgspec.structs import replace
from trio.testing import MockClock

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.runtime import sockets
from mdiqkd_net.runtime.accepting import REFUSALS_AT_ONCE, Door
from mdiqkd_net.runtime.limits import LIMITS, MAX_ADDRESSES, Failures, Limits, Pace
from mdiqkd_net.runtime.link import Link
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import CAPS
from mdiqkd_net.wire.frames import HEADER, SPENT_FRAMES, Sequencer

SOON = replace(LIMITS, header_s=0.2, body_s=0.3, handshake_s=5.0, write_s=0.3)
ANY = Expected("endpoint")


class Plain:
    """A channel that protects nothing."""

    def __init__(self, stream):
        self.stream = stream
        self.send_all = stream.send_all
        self.receive = stream.receive_some


@pytest.fixture
def credentials(tls):
    return lambda node: RealWorld().credentials(tls(node), Path())


@pytest.fixture
def listening(credentials, nursery):
    """Start a listener with limits."""

    async def start(limits=SOON, expected=ANY):
        server = Server(credentials("alice"), expected, limits)
        await server.start(nursery)
        return server

    return start


async def is_served(server, credentials):
    """Somebody who knows the protocol still gets a frame through."""
    server.got_frame = trio.Event()
    async with connected(server, credentials("bob")) as link:
        link.send(framed(m.SiftDone(count=3, nonce=bytes(16))))
        with trio.fail_after(10):
            await server.got_frame.wait()


@contextlib.asynccontextmanager
async def idle_strangers(server, n):
    """Connections that never say a word."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(await sockets.dial(server.address, "test", 5.0))
            for _ in range(n)
        ]


async def end_of(stream):
    """Wait until the other side has closed a connection."""
    with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def all_gone(before):
    """Wait until there are no more descriptors than before."""
    with trio.fail_after(5):
        while open_descriptors() != before:
            await trio.testing.wait_all_tasks_blocked(0.01)
    await trio.testing.wait_all_tasks_blocked()


def header(kind=m.Sift.TYPE, length=0, stream=0, seq=0):
    return HEADER.pack(length, kind, 1, 0, stream, seq, 0)


# --- who is let in ----------------------------------------------------------------------------


async def test_silent_strangers_make_room_for_who_comes_later(listening, credentials):
    server = await listening(replace(SOON, handshakes=8, handshakes_per_address=4))
    async with idle_strangers(server, 12) as strangers:
        refused = await server.reported("link.refused", 8)
        assert refused["address"] == "127.0.0.1"
        assert "made room" in refused["reason"]
        for stream in strangers[:8]:  # the oldest are gone, the newest four still wait
            await end_of(stream)
        await is_served(server, credentials)


async def test_the_busiest_address_makes_room():
    door = Door(Limits(handshakes=4, handshakes_per_address=3), lambda *_args, **_fields: None)
    with (
        door.stranger("flood") as first,
        door.stranger("flood") as second,
        door.stranger("flood") as third,
        door.stranger("quiet") as quiet,
    ):
        assert not any(scope.cancel_called for scope in (first, second, third, quiet))
        with door.stranger("other") as other:
            assert first.cancel_called
            with door.stranger("other") as another:
                assert second.cancel_called
                scopes = (third, quiet, other, another)
                assert not any(scope.cancel_called for scope in scopes)
                assert door.n_strangers == 4
    assert door.n_strangers == 0


async def test_a_listener_that_is_full_says_so_and_keeps_who_is_there(
    listening, credentials, nursery
):
    server = await listening(replace(SOON, links=1))
    async with connected(server, credentials("bob")) as link:
        await server.reported("link.up")
        with pytest.RaisesGroup(
            pytest.RaisesExc(RemoteProtocolError, match="refuses us with code 0x0402")
        ):
            async with connected(server, credentials("charles"), node="charles") as second:
                await read_to_the_end(second)
        refused = await server.reported("link.refused")
        assert refused["reason"] == "charles: 1 links are here"
        link.send(framed(m.SiftDone(count=3, nonce=bytes(16))))
        with trio.fail_after(5):
            await server.got_frame.wait()
        # Who is there may always come again: its new connection takes the place of the old one.
        await is_served(server, credentials)


async def test_links_per_address_are_bounded(listening, credentials):
    server = await listening(replace(SOON, links_per_address=1))
    async with connected(server, credentials("bob")):
        await server.reported("link.up")
        with pytest.RaisesGroup(pytest.RaisesExc(RemoteProtocolError, match="0x0402")):
            async with connected(server, credentials("charles"), node="charles") as second:
                await read_to_the_end(second)
    refused = await server.reported("link.refused")
    assert refused["reason"] == "charles: 1 links from 127.0.0.1 are here"


async def test_strangers_cannot_fill_the_log(listening):
    server = await listening(replace(SOON, handshakes_per_address=1))
    n = 3 * REFUSALS_AT_ONCE
    async with idle_strangers(server, n) as strangers:
        for stream in strangers[:-1]:
            await end_of(stream)
    named = [fields for event, fields in server.events if event == "link.refused"]
    assert REFUSALS_AT_ONCE <= len(named) < 2 * REFUSALS_AT_ONCE
    told = len(named) + sum(fields["n_unreported"] for fields in named)
    assert told <= n


async def test_who_fails_too_often_must_wait_and_who_is_there_does_not_notice(
    listening, credentials
):
    """Noise in place of TLS: after a few of them the address costs nothing more."""
    limits = replace(LIMITS, failures_per_s=1e-3, failures_at_once=5)
    server = await listening(limits)
    async with connected(server, credentials("bob")) as link:
        for _ in range(20):
            async with await sockets.dial(server.address, "noise", 5.0) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(secrets.token_bytes(100))
                await end_of(stream)
        await server.reported("link.refused", 20)
        refused = [fields["reason"] for event, fields in server.events if event == "link.refused"]
        assert [reason.startswith("TLS") for reason in refused] == 6 * [True] + 14 * [False]
        assert refused[-1].startswith("too many failed handshakes: wait for ")
        link.send(framed(m.SiftDone(count=3, nonce=bytes(16))))
        with trio.fail_after(5):
            await server.got_frame.wait()


def test_failures_are_forgiven_with_time_and_forgotten_by_number():
    now_s = [0.0]
    failures = Failures(Limits(failures_per_s=0.5, failures_at_once=2), lambda: now_s[0])
    for _ in range(3):
        assert failures.wait_s("192.0.2.7") == 0
        failures.count("192.0.2.7")
    assert failures.wait_s("192.0.2.7") == pytest.approx(2.0)
    assert failures.wait_s("192.0.2.8") == 0
    now_s[0] = 2.0
    assert failures.wait_s("192.0.2.7") == 0
    for n in range(2 * MAX_ADDRESSES):
        failures.count(f"host {n}")
    assert len(failures) == MAX_ADDRESSES
    for _ in range(100):
        failures.count("")  # no place of the internet
    assert failures.wait_s("") == 0


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8::1:2:3:4", 1, 0, 0), "2001:db8::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(peer, name):
    assert sockets.host_of(peer) == name


async def test_out_of_descriptors_is_waited_out(listening, credentials):
    server = await listening()
    waiting = socket.socket()
    waiting.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with waiting, contextlib.ExitStack() as fillers:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()), hard))
            with contextlib.suppress(OSError):
                while True:  # numbers below the limit may be free
                    fillers.callback(os.close, os.dup(0))
            waiting.connect_ex(server.listener.socket.getsockname())
            failed = await server.reported("accept.failed")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            fillers.close()
        assert failed["reason"] == "Too many open files"
        await is_served(server, credentials)


# --- what a peer may send ---------------------------------------------------------------------


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


# --- what a peer must take in -------------------------------------------------------------------


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


# --- storms -------------------------------------------------------------------------------------


async def test_a_node_that_dials_again_and_again_has_one_link(listening, credentials):
    """Every new connection takes the place of the last; no descriptor and no task is left."""
    server = await listening()
    bob = credentials("bob")
    await is_served(server, credentials)
    await server.reported("link.down")
    await trio.testing.wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    before, links = open_descriptors(), []
    for n in range(50):
        links.append(await dialed(server, bob))
        await server.reported("link.up", n + 2)
        assert len(server.links) <= 3  # the newest, the one before, and one that is ending
    for link in links:
        await link.close()
    await server.reported("link.down", 51)
    await all_gone(before)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_flood_of_strangers_does_not_disturb_a_link(listening, credentials, nursery):
    """1000 connections, most of them noise, beside a link on which every frame arrives in order."""
    server = await listening(LIMITS)
    before = open_descriptors()
    sender, n_frames = Sequencer(), 200

    async def flood():
        for n in range(1000):
            async with await sockets.dial(server.address, "flood", 5.0) as stream:
                if n % 2:
                    with contextlib.suppress(trio.BrokenResourceError):
                        await stream.send_all(secrets.token_bytes(100))

    async with connected(server, credentials("bob")) as link:
        async with trio.open_nursery() as flooding:
            flooding.start_soon(flood)
            for n in range(n_frames):
                link.send(sender.seal(m.SiftDone.TYPE, b"", 1).raw)
                await server.receive(n + 1)
            assert server.events[0] == ("link.up", {"peer": "bob"})
        assert [frame.seq for frame in server.frames] == list(range(n_frames))
        assert not [event for event, _ in server.events if event == "link.down"]
    await server.reported("link.down")
    await all_gone(before)
