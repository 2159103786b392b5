"""What another process has in its memory: a scan of all that it may write to."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

STRIDE = 1 << 22
LONGEST = 1 << 12
"""Needles are shorter than this, so that none is lost between two reads."""

_WRITABLE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw")


STAND_STILL = """
import ctypes, os, sys
from mdiqkd_net import secret
from mdiqkd_net.secret import SecretBuffer

if sys.argv[1] == "seen":  # without `memfd_secret` we see whether buffers are wiped, too
    secret._arena.has_memfd_secret = False

def planted(n_bytes):
    buffer = SecretBuffer(n_bytes)
    done = 0
    while done < n_bytes:
        done += os.readv(0, [buffer.view[done:]])
    return buffer

def stand_still():
    prctl = ctypes.CDLL(None).prctl
    os.write(1, b"dumpable %d\\n" % prctl(3, 0, 0, 0, 0))
    prctl(4, 1, 0, 0, 0)  # only now may the test look into us
    os.write(1, b"still\\n")
    os.read(0, 1)
"""

"""What a program starts with that is scanned; its first argument is "seen" or "best"."""


def ask(program, *arguments, secret=b"", pass_fds=()):
    """Run a program until it stands still; its process and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=pass_fds,
    )
    process.stdin.write(secret)
    process.stdin.flush()
    return process, until_still(process)


def until_still(process):
    """What a program says until it stands still (again)."""
    lines = []
    while (line := process.stdout.readline()) not in (b"still\n", b""):
        lines.append(line.decode())
    assert line, "".join(lines)
    return lines


def copies(pid: int, needles: Iterable[bytes]) -> list[int]:
    """How often each of `needles` occurs in the memory of a process that is standing still.

    Memory from `memfd_secret` cannot be read by anybody else and is passed over.
    """
    needles = list(needles)
    assert all(8 <= len(needle) < LONGEST for needle in needles)
    found = [0] * len(needles)
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for start, stop in _areas(pid):
            carried = b""
            for at in range(start, stop, STRIDE):
                try:
                    data = os.pread(memory, min(STRIDE, stop - at), at)
                except OSError:
                    data = b""
                if data.count(0) == len(data):
                    carried = b""
                    continue
                data = carried + data
                for i, needle in enumerate(needles):
                    # What lies wholly in the carried part was counted before.
                    first = max(0, len(carried) - len(needle) + 1)
                    found[i] += data.count(needle, first)
                carried = data[-LONGEST:]
    finally:
        os.close(memory)
    return found


def _areas(pid: int) -> list[tuple[int, int]]:
    with Path(f"/proc/{pid}/maps").open() as lines:
        matches = [match for line in lines if (match := _WRITABLE.match(line))]
    return [(int(match[1], 16), int(match[2], 16)) for match in matches]
