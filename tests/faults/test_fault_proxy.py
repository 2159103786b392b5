"""The proxy does what it says, so that what the nodes survive is what they were put through."""

from functools import partial

import pytest
import trio
from fault_proxy import FaultProxy, Records
from hypothesis import given
from hypothesis import strategies as st

BODIES = [b"a" * 3, b"b" * 40, b"c" * 300]


def record(body):
    return b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body


@given(sizes=st.lists(st.integers(1, 60), max_size=8), data=st.data())
def test_records_are_found_under_any_chunking(sizes, data):
    stream = b"".join(record(bytes(size)) for size in sizes)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    records, found = Records(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [start + end for end in records.ends(stream[start:stop])]
    assert found == [sum(5 + size for size in sizes[: i + 1]) for i in range(len(sizes))]


@pytest.fixture
async def ends(nursery):
    """A proxy, and how to connect through it: gives both ends of the connection."""
    nears = []
    arrived, arrivals = trio.open_memory_channel(16)

    async def keep(stream):
        await arrived.send(stream)
        await trio.sleep_forever()

    serve = partial(trio.serve_tcp, keep, 0, host="127.0.0.1")
    (listener,) = await nursery.start(serve)
    proxy = await nursery.start(FaultProxy(("127.0.0.1", listener.socket.getsockname()[1])).run)

    async def connect():
        host, port = proxy.address.split(":")
        nears.append(await trio.open_tcp_stream(host, int(port)))
        return nears[-1], await arrivals.receive()

    yield proxy, connect
    for near in nears:
        await trio.aclose_forcefully(near)
    nursery.cancel_scope.cancel()


async def all_of(stream):
    got = b""
    try:
        while data := await stream.receive_some():
            got += data
    except trio.BrokenResourceError:
        return got, "reset"
    return got, "closed"


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_cut_is_where_it_should_be(ends, after, inside, reset):
    proxy, connect = ends
    proxy.cut(after=after, inside=inside, reset=reset)
    near, far = await connect()
    for body in BODIES:
        try:
            await near.send_all(record(body))
        except trio.BrokenResourceError:
            break
    got, how = await all_of(far)
    whole = b"".join(map(record, BODIES[:after]))
    if reset:
        assert whole.startswith(got) or got.startswith(whole)  # a reset may overtake data
        assert how in ("reset", "closed")
    else:
        assert how == "closed"
        assert got.startswith(whole)
        assert (len(whole) < len(got) < len(whole + record(BODIES[after]))) == inside
    await proxy.all_cuts_made()
    near, far = await connect()
    await near.send_all(record(b"next"))
    assert await far.receive_some() == record(b"next")


async def test_what_is_stalled_comes_after_healing(ends):
    proxy, connect = ends
    near, far = await connect()
    proxy.stall()
    await near.send_all(b"late")
    with trio.move_on_after(0.05) as scope:
        await far.receive_some()
    assert scope.cancelled_caught
    proxy.heal()
    assert await far.receive_some() == b"late"


async def test_nobody_gets_through_a_proxy_that_refuses(ends):
    proxy, connect = ends
    near, _ = await connect()
    proxy.refuse()
    assert (await all_of(near))[0] == b""
    host, port = proxy.address.split(":")
    async with await trio.open_tcp_stream(host, int(port)) as refused:
        assert (await all_of(refused))[0] == b""
    proxy.heal()
    near, far = await connect()
    await far.send_all(b"back")
    assert await near.receive_some() == b"back"


async def test_a_narrow_line_takes_its_time(ends):
    proxy, connect = ends
    near, far = await connect()
    proxy.bytes_per_s = 1e6
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, bytes(100_000))
        got = 0
        while got < 100_000:
            got += len(await far.receive_some())
    assert trio.current_time() - began > 0.1
