"""Links between real sockets: who is let in, who is not, and what a bad peer does."""

import contextlib
import secrets
import socket
from pathlib import Path

import pytest
import trio
from listening import Server, connected, dialed, framed, read_to_the_end, strangers
from msgspec.structs import replace
from trio.testing import MockClock

from mdiqkd_net.errors import ConfigError, ProtocolError, RemoteProtocolError, WireError
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.handshake import Expected, greet
from mdiqkd_net.runtime import sockets, tls
from mdiqkd_net.runtime.accepting import attend
from mdiqkd_net.runtime.link import secure
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer

NOWHERE = Path()


@pytest.fixture
async def server(credentials, nursery):
    made = Server(credentials("alice"), Expected("endpoint", ["bob"]))
    await made.start(nursery)
    return made


async def test_frames_cross_a_link(server, credentials):
    async with connected(server, credentials("bob")) as link:
        link.send(framed(m.SiftDone(count=3, nonce=bytes(16))))
        with trio.fail_after(5):
            await server.got_frame.wait()
    assert server.frames[0].stream == 1
    assert server.events == [("link.up", {"peer": "bob"})]
    assert link.n_bytes > len(server.frames[0].raw)


async def test_a_peer_that_closes_in_order_is_at_its_end(server, tls):
    stream = await sockets.dial(server.address, "test", 5.0)
    polite = trio.SSLStream(stream, contexts(tls("bob"))[1], https_compatible=True)
    hello = greet("bob", "endpoint", secrets.token_bytes, Correspondence(secrets.token_bytes))
    await polite.send_all(Sequencer().seal(hello.TYPE, encode(hello)).raw)
    await polite.receive_some()
    with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
        await polite.unwrap()
        assert await polite.transport_stream.receive_some() == b""
    await polite.aclose()
    assert not any("reason" in fields for _, fields in server.events)


async def test_a_peer_that_is_not_welcome_is_told_why(server, credentials):
    refused = pytest.RaisesExc(RemoteProtocolError, match="refuses us with code 0x0202")
    with pytest.RaisesGroup(refused, flatten_subgroups=True):
        await open_and_read(server, credentials("charles"), node="charles")


async def open_and_read(server, credentials, **how):
    async with connected(server, credentials, **how) as link:
        await read_to_the_end(link)


async def test_a_certificate_of_another_node_is_refused_by_name(server, credentials):
    with pytest.raises(RemoteProtocolError, match="found 'alice'; allowed: charles"):
        await open_and_read(server, credentials("bob"), expected=Expected("relay", ["charles"]))


@pytest.mark.parametrize(
    ("claimed", "words"),
    [("charles", "found 'charles'; allowed: bob"), ("bob", "certificate says 'charles'")],
)
async def test_a_node_that_is_not_expected_or_lies_is_refused_and_reported(
    server, credentials, claimed, words
):
    # What the stranger sees is a link that ends, at once or after its greeting.
    with contextlib.suppress(RemoteProtocolError, WireError, ExceptionGroup):
        await open_and_read(server, credentials("charles"), node=claimed)
    assert server.events[0][0] == "link.refused"
    assert words in server.events[0][1]["reason"]
    assert not server.frames


async def test_a_certificate_of_another_authority_is_refused(server, foreign_tls):
    credentials = RealWorld().credentials(foreign_tls, NOWHERE)
    with pytest.raises(RemoteProtocolError, match="certificate refused"):
        await open_and_read(server, credentials)


async def test_who_is_refused_for_its_certificate_is_told_why(server, tls, foreign_tls):
    ours = replace(foreign_tls, authority=tls("bob").authority)  # so that only the server refuses
    credentials = RealWorld().credentials(ours, NOWHERE)
    with pytest.raises(RemoteProtocolError, match=r"alice is gone: refused by .* \(.*_ALERT_"):
        await open_and_read(server, credentials)


async def test_noise_in_place_of_tls_disturbs_nobody(server, credentials):
    async with await sockets.dial(server.address, "test", 5.0) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with trio.fail_after(5):
            while await stream.receive_some():
                pass
    async with connected(server, credentials("bob")) as link:
        link.send(framed(m.SiftDone(count=3, nonce=bytes(16))))
        with trio.fail_after(5):
            await server.got_frame.wait()


async def test_a_bad_frame_is_answered_with_its_code(server, credentials):
    async def send_noise():
        async with connected(server, credentials("bob")) as link:
            link.send(b"\xff" * 24)
            await read_to_the_end(link)

    with pytest.RaisesGroup(
        pytest.RaisesExc(RemoteProtocolError, match="alice refuses us with code 0x0101")
    ):
        await send_noise()


async def test_a_silent_peer_is_given_up(credentials):
    """Who accepts a connection and says nothing costs a deadline, not a hang."""
    clock = MockClock(autojump_threshold=0)
    bob = credentials("bob")
    with pytest.raises(RemoteProtocolError, match="no handshake within 10 s"):
        await trio.to_thread.run_sync(lambda: trio.run(_handshake_with_nobody, bob, clock=clock))


async def _handshake_with_nobody(credentials):
    ours, theirs = socket.socketpair()
    with theirs:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        await secure(
            stream,
            credentials,
            node="bob",
            role="endpoint",
            expected=Expected("endpoint"),
            entropy=secrets.token_bytes,
            correspond=strangers,
            server_side=False,
        )


async def test_nobody_at_an_address_is_an_error_that_names_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RemoteProtocolError, match=f"relay: cannot reach {address} within"):
            await sockets.dial(address, "relay", 0.3)


async def test_a_port_in_use_is_named():
    async with await sockets.listen("127.0.0.1:0", "listen") as first:
        address = sockets.address_of(first)
        with pytest.raises(ConfigError, match=r"listen: cannot listen on .*: the port is in use"):
            await sockets.listen(address, "listen")


async def test_inherited_sockets():
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        listener = await sockets.listen(f"fd://{inherited.fileno()}", "listen")
        assert sockets.address_of(listener).endswith(str(inherited.getsockname()[1]))
        inherited.detach()
        await listener.aclose()


@pytest.mark.parametrize("address", ["fd://x", "fd://9999", "nohost", "host:", "host:70000", ":1"])
async def test_addresses_that_are_none(address):
    with pytest.raises(ConfigError, match=r"listen: "):
        await sockets.listen(address, "listen")


async def test_a_socket_that_does_not_listen_is_refused():
    with socket.socket() as idle, pytest.raises(ConfigError, match="does not listen"):
        await sockets.listen(f"fd://{idle.fileno()}", "listen")


def test_missing_and_wrong_certificate_files(tls, tmp_path):
    good = tls("alice")
    with pytest.raises(ConfigError, match=r"no file .*`mdiqkd pki` makes"):
        contexts(good, authority=str(tmp_path / "none.pem"))
    (tmp_path / "junk.pem").write_text("junk")
    with pytest.raises(ConfigError, match=r"junk\.pem"):
        contexts(good, authority=str(tmp_path / "junk.pem"))
    with pytest.raises(ConfigError, match="KEY_VALUES_MISMATCH"):
        contexts(good, private_key=tls("bob").private_key)


def contexts(good, **changed):
    import msgspec

    return tls.contexts(msgspec.structs.replace(good, **changed), NOWHERE)


async def test_what_ends_a_link_is_reported(server, credentials):
    events = []

    async def serve(_link):
        raise RemoteProtocolError("no such thing", 0x0301)

    link = await dialed(server, credentials("bob"))
    with trio.fail_after(5):
        ended = await attend(link, serve, lambda event, **fields: events.append((event, fields)))
    assert isinstance(ended, ProtocolError)
    assert events[-1] == ("link.down", {"peer": "alice", "reason": "no such thing"})


@pytest.mark.parametrize(
    "names", [(), (("DNS", "x"),), (("URI", "urn:mdiqkd:node:a"), ("URI", "urn:mdiqkd:node:b"))]
)
def test_a_certificate_names_exactly_one_node(names):
    with pytest.raises(WireError, match="exactly one"):
        tls.certified_node({"subjectAltName": names})


async def test_a_connection_breaks_off_only_what_no_newer_one_has_taken_up(server, credentials):
    own = Correspondence(secrets.token_bytes)
    links = []
    for _ in range(2):
        link = await dialed(server, credentials("bob"), correspond=lambda _: own)
        link.take_up()
        links.append(link)
    epoch = own.epoch
    older, newer = links
    older.break_off()
    assert own.epoch == epoch
    newer.break_off()
    assert own.epoch != epoch
    for link in links:
        await link.close()
