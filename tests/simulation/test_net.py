"""The simulated network: what TCP promises, under every harm that it may come to."""

import contextlib
from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.simulation import scheduling
from mdiqkd_net.simulation.net import WINDOW_BYTES, Net


def ignore(_end, _data):
    pass


async def ends(net):
    listener = net.listen("bob", "bob:1", "listen")
    ours = await net.connect("alice", "bob:1")
    return ours, await listener.accept()


async def read_all(end):
    got = b""
    while data := await end.receive():
        got += data
    return got


@settings(max_examples=30, deadline=None)
@given(
    chunks=st.lists(st.binary(max_size=50), max_size=8),
    seed=st.integers(0, 10**6),
    piece=st.integers(1, 60),
    patience=st.lists(st.floats(0.0, 0.02), max_size=12),
)
def test_bytes_come_in_order_however_often_a_receive_is_cancelled(chunks, seed, piece, patience):
    async def main():
        net = Net(Random(seed), ignore)
        net.piece_bytes = piece
        ours, theirs = await ends(net)
        for chunk in chunks:
            await ours.send_all(chunk)
        got = b""
        for limit in patience:
            with trio.move_on_after(limit):
                got += await theirs.receive()
        await ours.aclose()
        return got + await read_all(theirs)

    assert scheduling.run(seed, main) == b"".join(chunks)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), wait_s=st.floats(0.0, 0.05))
def test_a_cut_loses_a_tail_and_nothing_else(seed, wait_s):
    sent = bytes(range(200))

    async def main():
        ours, theirs = await ends(Net(Random(seed), ignore))
        for i in range(0, 200, 20):
            await ours.send_all(sent[i : i + 20])
        await trio.sleep(wait_s)
        ours.cut()
        got = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await theirs.receive():
                got += data
            pytest.fail("a cut looks like an orderly end")
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"more")
        return got

    assert sent.startswith(scheduling.run(seed, main))


async def test_nothing_arrives_on_a_stalled_route_until_it_is_healed(autojump_clock):
    net = Net(Random(1), ignore)
    ours, theirs = await ends(net)
    net.stall("alice", "bob")
    await ours.send_all(b"late")
    await theirs.send_all(b"the other way is open")
    assert await ours.receive()
    with trio.move_on_after(1000.0) as limit:
        await theirs.receive()
    assert limit.cancelled_caught
    with trio.move_on_after(1000.0) as limit:
        await net.connect("alice", "bob:1")
    assert limit.cancelled_caught
    net.heal("alice", "bob")
    assert await theirs.receive() == b"late"


async def test_a_sender_waits_for_a_reader(autojump_clock):
    ours, theirs = await ends(Net(Random(1), ignore))
    await ours.send_all(bytes(WINDOW_BYTES))
    with trio.move_on_after(10.0) as limit:
        await ours.send_all(b"x")
    assert limit.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, b"x")
        await theirs.receive()


async def test_who_is_not_there_refuses(autojump_clock):
    net = Net(Random(1), ignore)
    with pytest.raises(ConnectionRefusedError):
        await net.connect("alice", "bob:1")
    listener = net.listen("bob", "bob:1", "listen")
    with pytest.raises(ConfigError, match="listen: cannot listen on bob:1"):
        net.listen("carol", "bob:1", "listen")
    net.refused.add("bob:1")
    with pytest.raises(ConnectionRefusedError):
        await net.connect("alice", "bob:1")
    net.refused.clear()
    waiting = await net.connect("alice", "bob:1")
    await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await waiting.receive()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


@pytest.mark.parametrize("cut", [True, False])
async def test_the_connections_of_a_dead_process_end(autojump_clock, cut):
    net = Net(Random(1), ignore)
    ours, theirs = await ends(net)
    await theirs.send_all(b"last words")
    await trio.sleep(1.0)
    net.drop("bob", cut=cut)
    assert await ours.receive() == b"last words"
    if cut:
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive()
    else:
        assert await ours.receive() == b""
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all(b"anybody there?")
    assert [end for end in net.ends if end.own == "bob"] == []
    assert net.listeners == {}
