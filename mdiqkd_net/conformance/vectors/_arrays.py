"""Packed arrays, and the numbering of frames."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from mdiqkd_net.conformance.vectors._cases import Cases, lots, octets
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire.bulk import Bulk, Ranked, Rice
from mdiqkd_net.wire.frames import Frame, Sequencer

_BULK_INPUTS: Final = (
    "input.kind bulk: an array of n items of type t in v; kind rice: n gaps with parameter k in v, "
    "pulse numbers from base, all below end; kind ranked: n items out of symbols, by the positions "
    "in ranks. expected.items: the items, in order."
)
_STEPS: Final = (
    "input.steps, in order, at one side of a link: send is a stream on which this side sends its "
    "next frame, and expected.sent has SEQ and ACK of each; receive is the header of a frame that "
    "comes in. An invalid case is refused at its last step."
)


def bulk_arrays() -> Cases:
    """Every type at every fill of its last byte, and what does not fit."""
    cases = Cases("bulk_arrays", "Packed arrays and pulse numbers", _BULK_INPUTS, ("3.3",))
    for n in (0, 1, 7, 8, 9, 29):
        items = np.frombuffer(lots(f"b1 {n}", n), np.uint8) % 2
        _add(cases, f"b1, {n} items", bulk.pack_bits(items))
    _add(cases, "b1: the first item is the low bit", Bulk(n=8, t="b1", v=b"\x01"))
    for bits in (8, 16, 32, 64):
        kind, size = f"u{bits}", bits // 8
        data = lots(kind, 3 * size)
        _add(cases, f"{kind}, no item", _bulk(0, kind, b""))
        _add(cases, f"{kind}, least and greatest", _bulk(2, kind, bytes(size) + b"\xff" * size))
        _add(cases, f"{kind}, little-endian", _bulk(3, kind, data))
        _add(cases, f"{kind}, a byte too few", _bulk(3, kind, data[:-1]))
        _add(cases, f"{kind}, a byte too many", _bulk(3, kind, data + b"\0"))
        _add(cases, f"{kind}, an item too many", _bulk(2, kind, data))
    for comment, n, kind, v in (
        ("b1, a byte too few", 9, "b1", b"\0"),
        ("b1, a byte too many", 8, "b1", b"\0\0"),
        ("b1, the lowest spare bit set", 9, "b1", b"\0\2"),
        ("b1, the highest spare bit set", 9, "b1", b"\0\x80"),
        ("b1, no item in a byte", 0, "b1", b"\0"),
    ):
        _add(cases, comment, _bulk(n, kind, v))
    _gaps(cases)
    _ranked(cases)
    return cases


def _bulk(n: int, kind: Any, v: bytes) -> Bulk:
    return Bulk(n=n, t=kind, v=v)


def _add(cases: Cases, comment: str, array: Bulk) -> None:
    unpack: Any = bulk.unpack_bits if array.t == "b1" else bulk.unpack_unsigned
    given = {"kind": "bulk", "n": array.n, "t": array.t, "v": octets(array.v)}
    cases.add(comment, given, lambda: {"items": [str(i) for i in unpack(array).tolist()]})


def _gaps(cases: Cases) -> None:
    def add(comment: str, rice: Rice, base: int, end: int) -> None:
        numbers = {"k": rice.k, "n": rice.n, "base": str(base), "end": str(end)}
        given = {"kind": "rice", "v": octets(rice.v), **numbers}
        cases.add(
            comment,
            given,
            lambda: {"items": [str(i) for i in bulk.unpack_gaps(rice, base, end).tolist()]},
        )

    add("gaps, none", Rice(k=0, n=0, v=b""), 0, 0)
    add("gaps, none, with a parameter", Rice(k=48, n=0, v=b""), 7, 7)
    add("gaps, first and last pulse", Rice(k=2, n=2, v=b"\x61"), 5, 16)
    for chance in (0.9, 0.3, 0.01, 1e-5):
        steps = np.frombuffer(lots(f"gaps {chance}", 160), "<u4").astype(np.float64) / 2**32
        pulses = 1000 + np.cumsum(1 + np.floor(np.log1p(-steps) / np.log1p(-chance)))
        whole = pulses.astype(np.int64)
        packed = bulk.pack_gaps(whole, 900)
        add(f"gaps of chance {chance}", packed, 900, int(whole[-1]) + 1)
        add(f"gaps of chance {chance}, the last at the end", packed, 900, int(whole[-1]))
    far = np.array([10**15 - 1], np.int64)
    add("gaps, the last pulse of the longest block", bulk.pack_gaps(far, 0), 0, 10**15)
    add("gaps, k = 0", Rice(k=0, n=8, v=b"\xff"), 0, 8)
    for comment, rice in (
        ("a byte too many", Rice(k=0, n=1, v=b"\1\0")),
        ("a spare bit", Rice(k=0, n=1, v=b"\3")),
        ("no one in sight", Rice(k=0, n=1, v=b"\0")),
        ("more items than bits", Rice(k=0, n=9, v=b"\xff")),
        ("low bits missing", Rice(k=12, n=1, v=b"\x80\0")),
        ("a quotient past the end", Rice(k=0, n=1, v=bytes(7) + b"\1")),
        ("low bits past the end", Rice(k=6, n=1, v=b"\xff")),
        ("a quotient that would overflow", Rice(k=48, n=1, v=bytes(3) + b"\x80" + bytes(6))),
        ("no item in a byte", Rice(k=0, n=0, v=b"\0")),
    ):
        add(f"gaps, {comment}", rice, 0, 50)


def _ranked(cases: Cases) -> None:
    def add(comment: str, ranked: Ranked) -> None:
        ranks = [{"k": rice.k, "n": rice.n, "v": octets(rice.v)} for rice in ranked.ranks]
        given = {"kind": "ranked", "n": ranked.n, "ranks": ranks, "symbols": octets(ranked.symbols)}
        cases.add(
            comment,
            given,
            lambda: {"items": [str(i) for i in bulk.unpack_ranked(ranked).tolist()]},
        )

    for comment, table in (
        ("all alike", [2]),
        ("z, and few others", 40 * [3] + [1, 1, 2, 0]),
        ("in equal parts", [0, 1, 2, 3]),
    ):
        drawn = np.frombuffer(lots(f"ranked {comment}", 120), np.uint8) % len(table)
        add(f"ranked, {comment}", bulk.pack_ranked(np.array(table, np.uint8)[drawn]))
    none, one = Rice(k=0, n=0, v=b""), Rice(k=0, n=1, v=b"\1")
    add("ranked, none", Ranked(n=0, ranks=[none, none, none], symbols=b"\0\1\2\3"))
    add("ranked, one of each rank below 3", _four(symbols=b"\3\1\2\0"))
    add("ranked, a symbol twice", _four(symbols=b"\3\1\2\2"))
    add("ranked, a symbol past 3", _four(symbols=b"\3\1\2\4"))
    add("ranked, a position past the end", Ranked(n=0, ranks=[one, none, none],
                                                  symbols=b"\0\1\2\3"))  # fmt: skip
    add("ranked, a position past the rank below", Ranked(n=4, ranks=[one, one, Rice(k=0, n=1,
        v=b"\2")], symbols=b"\0\1\2\3"))  # fmt: skip


def _four(symbols: bytes) -> Ranked:
    ranks = [Rice(k=0, n=3, v=b"\7"), Rice(k=0, n=2, v=b"\5"), Rice(k=0, n=1, v=b"\2")]
    return Ranked(n=4, ranks=ranks, symbols=symbols)


def sequences() -> Cases:
    """Numbers of frames per stream and direction."""
    cases = Cases("sequences", "Sequence numbers and acknowledgments", _STEPS, ("2.2", "2.4"))

    def send(stream: int) -> dict[str, int]:
        return {"send": stream}

    def receive(stream: int, seq: int, ack: int = 0) -> dict[str, dict[str, int]]:
        return {"receive": {"stream": stream, "seq": seq, "ack": ack}}

    for comment, steps in (
        ("the first frame is 0", [receive(0, 0)]),
        ("frames in order", [receive(0, 0), receive(0, 1), receive(0, 2)]),
        ("streams count apart", [receive(1, 0), receive(2, 0), receive(1, 1), send(2), send(1)]),
        ("directions count apart", [send(0), send(0), receive(0, 0), send(0)]),
        ("what is sent may be acknowledged", [send(3), send(3), receive(3, 0, 1),
                                              receive(3, 1, 2)]),
        ("an acknowledgment may stand still", [send(3), receive(3, 0, 1), receive(3, 1, 1)]),
        ("the first frame is not 1", [receive(0, 1)]),
        ("a gap", [receive(0, 0), receive(0, 2)]),
        ("a repetition", [receive(0, 0), receive(0, 0)]),
        ("the number of another stream", [receive(1, 0), receive(2, 1)]),
        ("the greatest number", [receive(0, 2**32 - 1)]),
        ("an acknowledgment of what was not sent", [receive(0, 0, 1)]),
        ("an acknowledgment of one more than was sent", [send(3), receive(3, 0, 2)]),
        ("an acknowledgment of another stream's frames", [send(3), receive(4, 0, 1)]),
        ("the greatest acknowledgment", [receive(0, 0, 2**32 - 1)]),
    ):  # fmt: skip
        cases.add(comment, {"steps": steps}, partial(_walk, steps))
    return cases


def _walk(steps: Sequence[Any]) -> dict[str, Any]:
    sequencer = Sequencer()
    sent = []
    for step in steps:
        if "send" in step:
            frame = sequencer.seal(0x8001, b"", step["send"])
            sent.append({"seq": frame.seq, "ack": frame.ack})
        else:
            header = step["receive"]
            frame = Frame(0x8001, header["stream"], header["seq"], header["ack"], b"")
            sequencer.accept(frame)
    return {"sent": sent}
