"""Who is let in at a door, who makes room, and storms of connections (spec 9)."""

import contextlib
import os
import resource
import secrets
import socket

import pytest
import trio
import trio.testing
from listening import SOON, connected, dialed, framed, open_descriptors, read_to_the_end
from msgspec.structs import replace

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.runtime import sockets
from mdiqkd_net.runtime.accepting import REFUSALS_AT_ONCE, Door
from mdiqkd_net.runtime.limits import LIMITS, MAX_ADDRESSES, Failures, Limits
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.frames import Sequencer


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
