"""What a file of vectors is made of: cases, and compact notations for bytes and values."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from mdiqkd_net.errors import ProtocolError, WireError

Json = Any
LEAST_RUN_BYTES: Final = 48
_PERIODS: Final = (1, 9, 16)
FAILED_CHECK: Final = 0x0502
CHECKER: Final = "tests/independent, which shares no code with the generator"


class Cases:
    """The cases of one file, numbered from 1.

    Args:
        name: Of the file.
        title: What the file is about.
        inputs: What the fields of `input` and `expected` mean.
        clauses: Of the specification; a case may name others.
    """

    def __init__(self, name: str, title: str, inputs: str, clauses: tuple[str, ...]) -> None:
        self.name = name
        self._head = {
            "format": "mdiqkd-net vectors 1",
            "name": name,
            "title": title,
            "inputs": inputs,
            "source": "docs/spec/index.md",
            "generator": "python -m mdiqkd_net.conformance.vectors",
            "checker": CHECKER,
        }
        self._clauses = clauses
        self.cases: list[dict[str, Json]] = []

    def add(
        self,
        comment: str,
        given: Json,
        outcome: Callable[[], Json],
        *,
        flags: tuple[str, ...] = (),
        clauses: tuple[str, ...] = (),
    ) -> None:
        """Enter a case; `outcome` computes what is expected, or raises the refusal."""
        case: dict[str, Json] = {
            "tcId": len(self.cases) + 1,
            "comment": comment,
            "flags": list(flags),
            "clauses": list(clauses or self._clauses),
            "input": given,
        }
        try:
            case |= {"expected": outcome(), "result": "valid"}
        except (WireError, ProtocolError) as error:
            code = getattr(error, "abort_code", FAILED_CHECK)
            case |= {"expected": {}, "result": "invalid", "code": f"{code:#06x}"}
        self.cases.append(case)

    def text(self) -> str:
        """The file: its head, then one case per line."""
        head = json.dumps(self._head, indent=1)[:-2]
        lines = ",\n".join("  " + json.dumps(case) for case in self.cases)
        return f'{head},\n "cases": [\n{lines}\n ]\n}}\n'


def known(value: Json) -> Callable[[], Json]:
    """An outcome that has been computed already."""
    return lambda: value


def octets(data: bytes) -> Json:
    """Bytes in hexadecimal; long runs of the same as `{"hex": ..., "times": n}` in a list."""
    parts: list[Json] = []
    plain = at = 0
    while at < len(data):
        period, times = _run(data, at)
        if period * times < LEAST_RUN_BYTES:
            at += 1
            continue
        if plain < at:
            parts.append(data[plain:at].hex())
        parts.append({"hex": data[at : at + period].hex(), "times": times})
        at += period * times
        plain = at
    if plain < len(data):
        parts.append(data[plain:].hex())
    if not parts:
        return ""
    return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else parts


def _run(data: bytes, at: int) -> tuple[int, int]:
    best = (1, 1)
    for period in _PERIODS:
        unit = data[at : at + period]
        if data[at + period : at + 2 * period] != unit:
            continue
        times = 2
        step = len(data)
        # In great strides first: runs of millions of bytes are common here.
        while step:
            while unit * step == data[at + times * period : at + (times + step) * period]:
                times += step
            step //= 8
        if period * times > best[0] * best[1]:
            best = (period, times)
    return best


def typed(value: Json) -> Json:
    """A builtin as JSON that keeps its type; integers are decimal strings."""
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, str):
        return {"str": value}
    if isinstance(value, bytes):
        return {"bin": octets(value)}
    if isinstance(value, dict):
        return {"map": {key: typed(item) for key, item in sorted(value.items())}}
    if len(value) > 1 and all(item == value[0] for item in value):
        return {"list": [typed(value[0])], "times": len(value)}
    return {"list": [typed(item) for item in value]}


def lots(label: str, n_bytes: int) -> bytes:
    """Bytes that look random, the same for the same label: SHAKE-256 of it."""
    return hashlib.shake_256(b"mdiqkd-net vectors " + label.encode()).digest(n_bytes)
