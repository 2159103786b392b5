"""What may happen to the two ends of one direction of pads: restarts, lost messages, old files.

The same histories run on a model in memory and on real pad files.
"""

import random
from typing import Protocol

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.leases import check_lease, next_lease

SIDES = ("sender", "receiver")


class ReuseError(Exception):
    """A pad would have been used for two tags."""


class Ends(Protocol):
    """A sender and a receiver of tags, and what a hostile backup can do to them."""

    def grant(self) -> tuple[int, int]:
        """The sender asks, the receiver grants; the answer may yet be lost."""

    def accept(self, base: int, count: int) -> None: ...

    def lease_left(self) -> int: ...

    def take(self) -> int:
        """The sender makes a tag; returns the index of its pad."""

    def deliver(self, index: int) -> None:
        """The receiver accepts that tag."""

    def restart(self, side: str) -> None: ...

    def save(self, side: str) -> None:
        """Back up a side's file."""

    def restore(self, side: str) -> None:
        """Put the backup in place of the file, and restart."""


class ModelEnds:
    """Both ends as a few integers. `compare` leaves the durable grant out: a variant known bad."""

    def __init__(self, n_pads: int, *, compare: bool = False) -> None:
        self.n_pads = n_pads
        self.compare = compare
        self.high_water = 0
        self.granted = 0
        self.accepted = 0
        self.lease_end = 0
        self.saved = {"sender": (0,), "receiver": (0, 0)}

    def grant(self) -> tuple[int, int]:
        told = self.accepted if self.compare else self.granted
        base, count = next_lease(told, self.high_water, self.n_pads)
        self.granted = base + count
        return base, count

    def accept(self, base: int, count: int) -> None:
        check_lease(self.high_water, base, count, self.n_pads)
        self.high_water, self.lease_end = base, base + count

    def lease_left(self) -> int:
        return max(0, self.lease_end - self.high_water)

    def take(self) -> int:
        self.high_water += 1
        return self.high_water - 1

    def deliver(self, index: int) -> None:
        self.accepted = max(self.accepted, index + 1)

    def restart(self, side: str) -> None:
        if side == "sender":
            self.lease_end = 0

    def save(self, side: str) -> None:
        self.saved[side] = (self.high_water,) if side == "sender" else (self.granted, self.accepted)

    def restore(self, side: str) -> None:
        if side == "sender":
            (self.high_water,) = self.saved[side]
        else:
            self.granted, self.accepted = self.saved[side]
        self.restart(side)


def run_history(ends: Ends, rng: random.Random, n_events: int) -> int:
    """One random history; returns the number of tags.

    Only one side is set back between two leases: that is what leases promise to bear.

    Raises:
        ReuseError: A pad came twice.
    """
    used: set[int] = set()
    set_back: str | None = None
    answers: list[tuple[int, int]] = []
    for _ in range(n_events):
        event = rng.choice(("tag", "tag", "tag", "tag", "late", "restart", "save", "restore"))
        side = rng.choice(SIDES)
        if event == "tag":
            if not ends.lease_left():
                answers.append(ends.grant())
                if rng.random() < 0.3:
                    continue  # the answer is late, or lost
                ends.accept(*answers[-1])
                set_back = None
            if not ends.lease_left():
                break
            index = ends.take()
            if index in used:
                raise ReuseError
            used.add(index)
            if rng.random() < 0.7:
                ends.deliver(index)
        elif event == "late" and answers:
            try:
                ends.accept(*rng.choice(answers))
                set_back = None
            except RemoteProtocolError:
                pass
        elif event == "restart":
            ends.restart(side)
        elif event == "save":
            ends.save(side)
        elif event == "restore" and set_back in (None, side):
            set_back = side
            ends.restore(side)
        if event in ("restart", "restore"):
            answers.clear()  # an answer does not outlive the connection
    return len(used)
