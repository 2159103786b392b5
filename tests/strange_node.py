"""A user's node in a strange world: `python -m tests.strange_node CONFIG`, with what is strange.

The node is the real one; only the world that it is given is not (`mdiqkd_net.runtime.world`).
`--fail CALL@POINT` breaks its disk at a crash point: from then on the kernel answers the system
calls of that name with EIO, whoever makes them, Python or SQLite, and never changes its mind. That
is a filter of seccomp, which any process may put upon itself. `--days=A --days=B` sets its time of
day off by A and by B days in turn.
"""

import argparse
import ctypes
import errno
import itertools
import platform
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mdiqkd_net.runtime.config import EndpointConfig, read
from mdiqkd_net.runtime.endpoint import EndpointNode
from mdiqkd_net.runtime.node import serve
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.telemetry.events import Telemetry

NUMBERS = {  # AUDIT_ARCH, seccomp itself, and the calls, by the kernel's tables
    "x86_64": (
        0xC000003E,
        317,
        {"sync": (74, 75), "write": (18, 296, 328), "read": (17, 295, 327)},
    ),
    "aarch64": (
        0xC00000B7,
        277,
        {"sync": (82, 83), "write": (68, 70, 287), "read": (67, 69, 286)},
    ),
}
"""sync: fsync, fdatasync; write: pwrite64, pwritev, pwritev2; read: pread64, preadv, preadv2. The
store and the pad file use no others, and nothing else uses these."""

_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("first", ctypes.POINTER(_Instruction)))


def break_disk(call):
    """From now on `call` fails with EIO in all threads of this process."""
    architecture, seccomp, numbers = NUMBERS[platform.machine()]
    calls = numbers[call]
    instructions = [
        (_LOAD, 0, 0, 4),  # the architecture
        (_EQUALS, 0, 1 + len(calls), architecture),
        (_LOAD, 0, 0, 0),  # the number of the call
        *((_EQUALS, len(calls) - i, 0, number) for i, number in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EIO),
    ]
    program = (_Instruction * len(instructions))(*instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(
        seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(_Program(len(program), program))
    ):
        raise OSError(ctypes.get_errno(), "seccomp")


class FailingDisk:
    """Called at every crash point, by any thread; breaks the disk at one of them."""

    def __init__(self, wish):
        self._call, _, self._point = wish.partition("@")

    def __call__(self, point):
        if point == self._point:
            break_disk(self._call)


@dataclass(frozen=True, slots=True)
class StrangeWorld(RealWorld):
    """The real world but for its clock."""

    days: itertools.cycle = field(kw_only=True)

    def utc_now(self):
        return datetime.now(UTC) + timedelta(days=next(self.days))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--fail")
    parser.add_argument("--days", type=int, action="append")
    args = parser.parse_args()
    config = read(args.config, EndpointConfig)
    telemetry = Telemetry(config.node, sys.stdout)
    world = StrangeWorld(
        crash=args.fail and FailingDisk(args.fail), days=itertools.cycle(args.days or [0])
    )
    return serve(telemetry, EndpointNode(config, args.config.parent, telemetry, world).run)


if __name__ == "__main__":
    sys.exit(main())
