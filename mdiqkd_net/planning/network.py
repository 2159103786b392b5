"""A network to plan: users with arms to one relay or several, and who wants how many keys."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.params import (
    MAX_PULSES,
    BellStateName,
    Fiber,
    Link,
    ReceiverParams,
    Security,
    Source,
    UserLink,
)
from mdiqkd_net.planning.detectors import Detectors

Pair = tuple[str, str]
"""Two user ids, the lower first."""


class Demand(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What two users want."""

    users: tuple[str, str]
    keys_per_hour: Annotated[float, Meta(gt=0.0)]
    key_bits: Annotated[int, Meta(ge=1)] = 256

    @property
    def pair(self) -> Pair:
        """The lower id first."""
        return min(self.users), max(self.users)

    @property
    def bits_per_s(self) -> float:
        """The rate that it takes."""
        return self.keys_per_hour * self.key_bits / 3600.0


class NetworkUser(Source, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's settings, and an arm to each relay within reach."""

    transmitter: TransmitterParams = TransmitterParams()
    arms: dict[str, Fiber]


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Users, relays and the arms between them. Keys of the same names mean as in a scenario."""

    title: str
    n_pulses: Annotated[int, Meta(ge=1, le=MAX_PULSES)]
    pulse_rate_hz: Annotated[int, Meta(ge=1, le=10**11)]
    eps_sec: Annotated[float, Meta(gt=0.0, lt=1.0)]
    eps_cor: Annotated[float, Meta(gt=0.0, lt=1.0)]
    f_ec: Annotated[float, Meta(ge=1.0, le=10.0)] = 1.16
    bell_states: tuple[BellStateName, ...]
    users: dict[str, NetworkUser]
    relays: dict[str, ReceiverParams]
    demand: tuple[Demand, ...] = ()
    detectors: dict[str, Detectors] = {}

    def __post_init__(self) -> None:
        if len(self.users) < 2:
            raise ValueError(
                f"users: found {len(self.users)} ({', '.join(self.users) or 'none'}); "
                "allowed: 2 or more"
            )
        for name, user in self.users.items():
            for relay in user.arms:
                if relay not in self.relays:
                    allowed = ", ".join(self.relays) or "none, for there is no table `relays`"
                    raise ValueError(
                        f"users.{name}.arms: found relay {relay!r}; allowed: {allowed}"
                    )
        if not any(self.relays_of(pair) for pair in self.pairs):
            raise ValueError("relays: found none that two users have in common; allowed: 1 or more")
        check_demand(self.demand, self.users)
        for pair in self.pairs:
            for relay in self.relays_of(pair):
                self.link(pair, relay)  # raises if the Bell states are impossible

    @property
    def pairs(self) -> list[Pair]:
        """Every user with every other, sorted, the lower id first."""
        return list(combinations(sorted(self.users), 2))

    @property
    def security(self) -> Security:
        """The security budget of each block."""
        return Security(eps_sec=self.eps_sec, eps_cor=self.eps_cor, f_ec=self.f_ec)

    def relays_of(self, pair: Pair) -> list[str]:
        """Relays that both users have an arm to, in the order of the file."""
        one, other = (self.users[user].arms for user in pair)
        return [relay for relay in self.relays if relay in one and relay in other]

    def link(self, pair: Pair, relay: str) -> Link:
        """What a prediction needs to know of a pair at a relay; the lower id is Alice."""
        alice, bob = (_arm(self.users[user], relay) for user in pair)
        return Link(
            n_pulses=self.n_pulses,
            alice=alice,
            bob=bob,
            receiver=self.relays[relay],
            eps_sec=self.eps_sec,
            eps_cor=self.eps_cor,
            f_ec=self.f_ec,
            bell_states=self.bell_states,
        )


class DemandFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of `--demand`: the same tables outside of the network's file."""

    demand: tuple[Demand, ...] = ()
    detectors: dict[str, Detectors] = {}


def check_demand(demand: Sequence[Demand], users: Iterable[str]) -> None:
    """Return if each demand is of two of these users, and no pair has two.

    Raises:
        ValueError: Saying which, what was found and what is allowed.
    """
    names, pairs = sorted(users), set()
    for number, entry in enumerate(demand):
        if entry.users[0] == entry.users[1] or not set(entry.users) <= set(names):
            raise ValueError(
                f"demand[{number}].users: found {list(entry.users)}; "
                f"allowed: two of {', '.join(names)}"
            )
        if entry.pair in pairs:
            raise ValueError(
                f"demand[{number}].users: found {list(entry.users)} again; "
                "allowed: one demand of a pair"
            )
        pairs.add(entry.pair)


def _arm(user: NetworkUser, relay: str) -> UserLink:
    settings = {k: v for k, v in msgspec.structs.asdict(user).items() if k != "arms"}
    return UserLink(**settings, **msgspec.structs.asdict(user.arms[relay]))
