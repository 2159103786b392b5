"""Hand-out: what the holder of keys owes their owner (spec 13).

The harness owns half of the keys of every block that it makes with the node, and asks the node to
set them aside. What an owner owes shows on the wire only when somebody at the node asks for keys,
which nobody does here; a store that is put back to an older state does not show, either.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar

from mdiqkd_net.conformance.cases import Area, Broken, Ending
from mdiqkd_net.conformance.endpoint.altering import without
from mdiqkd_net.conformance.endpoint.gate import SHORT
from mdiqkd_net.conformance.endpoint.harness import GREATER, PEER, EndpointHarness
from mdiqkd_net.conformance.endpoint.pairing import Pairing, pairing
from mdiqkd_net.wire.messages import (
    BlockKeys,
    Commit,
    Committed,
    KeyAssign,
    KeyAssigned,
    KeyBurn,
    KeyBurned,
    KeyRefused,
    SiftDone,
    Vote,
)

WRONG_STATE: Final = 0x0301
SCHEMA: Final = 0x0104
NOT_FREE: Final = 0x0601
NO_SUCH_KEY: Final = 2**20
MOST: Final = 128
"""Keys in a request."""
AREA: Final = Area[EndpointHarness]("CT-EP-K", "Hand-out of keys", "L2")

Answer = TypeVar("Answer", KeyAssigned, KeyRefused, KeyBurned)


def _key(block_id: bytes, number: int) -> BlockKeys:
    return BlockKeys(block_id=block_id, numbers=[number])


async def _own(p: Pairing, n: int) -> list[BlockKeys]:
    """Keys of ours that the node holds and no case has named; a block is made if there are none."""
    p.keep_from_peer(KeyAssigned, KeyRefused, KeyBurned)
    keys = p.user.unnamed_keys(n)
    n_blocks = 0
    while len(keys) < n:
        n_blocks += 1
        await p.block()
        await p.expect(p.decided, n=n_blocks)
        await p.settled()
        keys += p.user.unnamed_keys(n - len(keys))
    return keys


async def _answer(p: Pairing, said: KeyAssign | KeyBurn, kind: type[Answer]) -> Answer:
    """What the node answers to a request."""
    n_before = len(p.frames(kind))
    await p.link.tell(said)
    answer = await p.expect(kind, p.deadlines.reaction_s, n=n_before + 1)
    if answer.request != said.request:
        raise Broken(f"{kind.__name__} names another request")
    return answer


async def _assigned(p: Pairing, keys: Sequence[BlockKeys], request: bytes = b"") -> bytes:
    """The node sets keys aside; the request that it does it for."""
    request = request or p.rng.randbytes(16)
    await _answer(p, KeyAssign(keys=list(keys), request=request), KeyAssigned)
    return request


async def _not_free(p: Pairing, keys: Sequence[BlockKeys], request: bytes = b"") -> None:
    """The node does not set these keys aside."""
    said = KeyAssign(keys=list(keys), request=request or p.rng.randbytes(16))
    refused = await _answer(p, said, KeyRefused)
    if refused.code != NOT_FREE:
        raise Broken(f"KeyRefused with code {refused.code:#06x}; expected {NOT_FREE:#06x}")


@AREA.case(
    1, "keys of ours are set aside, and asked for again they still are", "13.2", needs=[PEER]
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        keys = await _own(p, 1)
        request = await _assigned(p, keys)
        await _assigned(p, keys, request)


@AREA.case(2, "what is set aside outlives a lost connection", "13.2", "13.5", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        keys = await _own(p, 1)
        request = await _assigned(p, keys)
        await p.link_again()
        await _assigned(p, keys, request)


@AREA.case(3, "keys are handed out while a block is under way", "13", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        keys = await _own(p, 1)
        await p.open(**SHORT)
        await _assigned(p, keys)
        await p.light()
        await p.expect(SiftDone)


@AREA.case(4, "a key that serves a request is refused to another one", "13.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        keys = await _own(p, 1)
        await _assigned(p, keys)
        await _not_free(p, keys)


@AREA.case(5, "a request that has keys is refused others", "13.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        one, other = await _own(p, 2)
        request = await _assigned(p, [one])
        await _not_free(p, [other], request)
        await _assigned(p, [one], request)


@AREA.case(6, "a request that is refused changes nothing", "13.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        taken, free = await _own(p, 2)
        await _assigned(p, [taken])
        both = sorted((taken, free), key=lambda key: (key.block_id, key.numbers))
        if taken.block_id == free.block_id:
            numbers = [number for key in both for number in key.numbers]
            both = [BlockKeys(block_id=taken.block_id, numbers=numbers)]
        await _not_free(p, both)
        await _assigned(p, [free])


@AREA.case(7, "keys of a block that it does not know are refused", "13.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.keep_from_peer(KeyRefused)
        await _not_free(p, [_key(p.rng.randbytes(16), p.user.parity)])


@AREA.case(8, "keys that a block does not have are refused", "13.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        (known,) = await _own(p, 1)
        await _not_free(p, [_key(known.block_id, NO_SUCH_KEY + p.user.parity)])


@AREA.case(9, "keys of a block that is only prepared are refused", "13.2", "13.3", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.alter = without(Vote)
        p.keep_from_peer(Vote, KeyRefused)
        await p.block()
        block_id = (await p.expect(p.prepared)).block_id
        await _not_free(p, [_key(block_id, p.user.parity)])


@AREA.case(10, "keys that the node owns itself are refused", "13.2", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        (ours,) = await _own(p, 1)
        (number,) = ours.numbers
        theirs = _key(ours.block_id, number ^ 1)
        await p.link.tell(KeyAssign(keys=[theirs], request=p.rng.randbytes(16)))
        ending = await p.refused(WRONG_STATE)
        p.never_said(KeyAssigned)
        return ending


async def _refuses(h: EndpointHarness, numbers: Sequence[Sequence[int]]) -> Ending:
    async with pairing(h) as p:
        (ours,) = await _own(p, 1)
        keys = [
            BlockKeys(block_id=ours.block_id, numbers=[2 * n + p.user.parity for n in of_one])
            for of_one in numbers
        ]
        await p.link.tell(KeyAssign(keys=keys, request=p.rng.randbytes(16)))
        return await p.refused(WRONG_STATE, SCHEMA)


for _number, _text, _numbers in (
    (11, "a block that comes twice", ((0,), (1,))),
    (12, "numbers that do not rise", ((1, 0),)),
    (13, "a number that comes twice", ((0, 0),)),
):
    AREA.add(
        _number,
        f"refused: KeyAssign with {_text}",
        ("13.2",),
        partial(_refuses, numbers=_numbers),
        needs=[PEER],
    )


@AREA.case(14, f"a request for {MOST + 1} keys is refused", "13.2", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        numbers = [2 * n + p.user.parity for n in range(MOST)]
        many = BlockKeys(block_id=bytes(16), numbers=numbers)
        one_more = BlockKeys(block_id=bytes([1] * 16), numbers=numbers[:1])
        await p.link.tell(KeyAssign(keys=[many, one_more], request=p.rng.randbytes(16)))
        return await p.refused(WRONG_STATE, SCHEMA)


@AREA.case(15, "keys that are burned are never set aside again", "13.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        keys = await _own(p, 1)
        request = await _assigned(p, keys)
        await _answer(p, KeyBurn(keys=keys, request=request), KeyBurned)
        await _not_free(p, keys, request)
        await _not_free(p, keys)


@AREA.case(16, "burning for a request that it does not know is confirmed", "13.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        keys = await _own(p, 1)
        await _answer(p, KeyBurn(keys=keys, request=p.rng.randbytes(16)), KeyBurned)
        await _assigned(p, keys)  # they were not burned


@AREA.case(17, "a request burns no keys of another one", "13.4", needs=[PEER])
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        one, other = await _own(p, 2)
        mine, yours = await _assigned(p, [one]), await _assigned(p, [other])
        await _answer(p, KeyBurn(keys=[other], request=mine), KeyBurned)
        await _assigned(p, [other], yours)


@AREA.case(18, "KeyAssigned for a request that nobody made is refused", "13", needs=[PEER])
async def _(h: EndpointHarness) -> Ending:
    async with pairing(h) as p:
        await p.link.tell(KeyAssigned(request=p.rng.randbytes(16)))
        return await p.refused(WRONG_STATE)


@AREA.case(
    19,
    "KeyRefused and KeyBurned for a request that it does not know change nothing",
    "13",
    needs=[PEER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        await p.link.tell(KeyRefused(code=NOT_FREE, request=p.rng.randbytes(16)))
        await p.link.tell(KeyBurned(request=p.rng.randbytes(16)))
        await p.open_still()


@AREA.case(
    20,
    "a coordinator that has committed sets keys aside before it confirms",
    "13.2",
    needs=[GREATER],
)
async def _(h: EndpointHarness) -> None:
    async with pairing(h) as p:
        p.keep_from_peer(KeyAssigned)
        p.alter = without(Committed)
        await p.block()
        block_id = (await p.expect(Commit)).block_id
        await _assigned(p, [_key(block_id, p.user.parity)])
