"""The socket beside a key store: who may ask, what is answered, and what a crash leaves behind."""

import socket
import stat
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import memory_stream_pair

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.asking import (
    AwayError,
    KeyAnswer,
    KeyWish,
    NoNodeError,
    ask_node,
    socket_path,
)
from mdiqkd_net.keys.records import NoKeyError, SimulatedKeyError
from mdiqkd_net.protocol.handout import MAX_KEYS
from mdiqkd_net.runtime.counter import answer, serve
from mdiqkd_net.runtime.sockets import listen_local
from mdiqkd_net.runtime.wishes import Wish, Wishes

WISH = KeyWish(peer="bob", n_keys=3, allow_simulated=False)


class Clerk:
    def __init__(self, error=None):
        self.error, self.asked = error, []

    async def agree(self, n_keys, *, allow_simulated):
        self.asked.append((n_keys, allow_simulated))
        if self.error is not None:
            raise self.error


async def test_an_answer_crosses_the_socket(tmp_path, nursery):
    clerk = Clerk()
    nursery.start_soon(serve, await listen_local(tmp_path / "a.db.sock"), {"bob": clerk})
    await trio.to_thread.run_sync(ask_node, tmp_path / "a.db", WISH)
    assert clerk.asked == [(3, False)]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [NoKeyError, SimulatedKeyError, AwayError, KeyStoreError])
async def test_errors_keep_their_kind_and_their_words(tmp_path, nursery, kind):
    listener = await listen_local(tmp_path / "a.db.sock")
    nursery.start_soon(serve, listener, {"bob": Clerk(kind("these words"))})
    with pytest.raises(kind, match="these words") as caught:
        await trio.to_thread.run_sync(ask_node, tmp_path / "a.db", WISH)
    assert type(caught.value) is kind
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"[" * 4000,
        msgspec.json.encode({"peer": "bob", "n_keys": 0, "allow_simulated": False}),
        msgspec.json.encode({"peer": "bob", "n_keys": MAX_KEYS + 1, "allow_simulated": False}),
        msgspec.json.encode({"peer": "bob", "n_keys": 1, "allow_simulated": False, "more": 1}),
    ],
)
async def test_what_is_no_question_is_refused(line):
    clerk = Clerk()
    said = await answer({"bob": clerk}, line)
    assert said.kind == "refused"
    assert not clerk.asked


async def test_a_stranger_is_no_peer():
    wish = msgspec.structs.replace(WISH, peer="carol")
    said = await answer({"bob": Clerk()}, msgspec.json.encode(wish))
    assert said == KeyAnswer(kind="none", why="peer: found 'carol'; allowed: bob")


class Streams(trio.abc.Listener):
    """A listener for one stream in memory."""

    def __init__(self, stream):
        self._streams = [stream]

    async def accept(self):
        if not self._streams:
            await trio.sleep_forever()
        return self._streams.pop()

    async def aclose(self):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("data", [b"x" * 5000, None])
async def test_who_says_too_much_or_nothing_gets_no_answer(nursery, autojump_clock, data):
    theirs, ours = memory_stream_pair()
    clerk = Clerk()
    nursery.start_soon(serve, Streams(ours), {"bob": clerk})
    if data is not None:
        await theirs.send_all(data)
    assert await theirs.receive_some() == b""
    assert not clerk.asked
    nursery.cancel_scope.cancel()


async def test_only_the_user_may_ask_and_the_name_goes_with_the_node(tmp_path):
    path = tmp_path / "a.db.sock"
    listener = await listen_local(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="another node is running on this store"):
        await listen_local(path)
    await listener.aclose()
    assert not path.exists()


async def test_what_a_crashed_node_left_is_removed(tmp_path):
    path = tmp_path / "a.db.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    with pytest.raises(NoNodeError, match="no node is running on this store"):
        ask_node(tmp_path / "a.db", WISH)
    await (await listen_local(path)).aclose()
    path.write_text("no socket")
    with pytest.raises(ConfigError, match="cannot listen"):
        await listen_local(path)
    assert path.read_text() == "no socket"


def test_a_name_that_is_too_long_for_the_kernel():
    with pytest.raises(ConfigError, match="found 125 bytes; allowed for a socket: 107"):
        socket_path(Path("/" + 119 * "x"))


@pytest.mark.parametrize(("said", "error"), [(b"no json\n", KeyStoreError), (b"", KeyStoreError)])
async def test_an_answer_that_is_none(tmp_path, nursery, said, error):
    async def speak(stream):
        async with stream:
            await stream.receive_some(100)
            await stream.send_all(said)

    listener = await listen_local(tmp_path / "a.db.sock")
    nursery.start_soon(trio.serve_listeners, speak, [listener])
    with pytest.raises(error, match="cannot be understood"):
        await trio.to_thread.run_sync(ask_node, tmp_path / "a.db", WISH)
    nursery.cancel_scope.cancel()


def test_a_node_that_does_not_answer(tmp_path):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "a.db.sock"))
        deaf.listen()
        with pytest.raises(AwayError):
            ask_node(tmp_path / "a.db", WISH, timeout_s=0.05)


class Asked:
    """Stands for the core."""

    def __init__(self):
        self.given_up = []

    def ask(self, n_keys, *, allow_simulated):
        return bytes([n_keys] * 16), ["effects"]

    def give_up(self, request):
        self.given_up.append(request)


async def test_who_waits_in_vain_is_forgotten(autojump_clock):
    core = Asked()
    wishes = Wishes(core, "bob")
    wish = Wish(2, allow_simulated=False)
    assert wishes.ask(wish) == ["effects"]
    with pytest.raises(TimeoutError):
        await wish.wait(5.0)
    wishes.give_up(wish)
    assert core.given_up == [wish.request]
    wishes.answer(wish.request, agreed=True)  # late; nobody is there
    assert wishes.ask(wish) == []  # who gave up is not asked for


async def test_a_refusal_and_an_agreement_reach_who_waits():
    wishes = Wishes(Asked(), "bob")
    for agreed in (True, False):
        wish = Wish(2, allow_simulated=False)
        wishes.ask(wish)
        wishes.answer(wish.request, agreed=agreed)
        if agreed:
            await wish.wait(1.0)
        else:
            with pytest.raises(KeyStoreError, match="does not have all of these keys free"):
                await wish.wait(1.0)
    wish = Wish(1, allow_simulated=False)
    wishes.refuse(wish)
    with pytest.raises(AwayError, match="bob is not connected"):
        await wish.wait(1.0)
