"""A scenario: users, their arms, one receiver, and how much light to spend. Read from TOML."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from mdiqkd_net import byzantine
from mdiqkd_net.blocks import CATEGORIES
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.errors import ConfigError, DeviceError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.keys.identity import check_node
from mdiqkd_net.keys.pki import AUTHORITY
from mdiqkd_net.params import (
    MAX_PULSES,
    BellStateName,
    Link,
    ReceiverParams,
    Security,
    UserLink,
)
from mdiqkd_net.physics.levels import check_level
from mdiqkd_net.planning.detectors import Detectors
from mdiqkd_net.planning.network import Demand, Network, NetworkUser, check_demand
from mdiqkd_net.runtime import config as configuration
from mdiqkd_net.scenario import topology
from mdiqkd_net.scenario.topology import UserPair

RELAY: Final = "charles"
"""Node id of the relay in every scenario."""

RESERVED: Final = {RELAY: "the relay", AUTHORITY: "the authority that signs certificates"}

Count = Annotated[int, Meta(ge=0, le=MAX_PULSES)]


class Measured(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Published counts of an experiment, to be shown beside the simulated ones."""

    source: str
    n_pulses: Annotated[int, Meta(ge=1, le=MAX_PULSES)]
    counts: dict[str, Count]
    """Events by category; the category names Alice's setting first, and Alice is the user with
    the lower id."""
    errors: dict[str, Count] = {}

    def __post_init__(self) -> None:
        for table, values in (("counts", self.counts), ("errors", self.errors)):
            for category in values:
                if category not in CATEGORIES:
                    raise ValueError(
                        f"{table}: found category {category!r}; allowed: {', '.join(CATEGORIES)}"
                    )
        for category, m in self.errors.items():
            n = self.counts.get(category, 0)
            if m > n:
                raise ValueError(f"errors.{category}: found {m}; allowed: at most the {n} counts")


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole network on one machine. The relay is always the node `charles`."""

    title: str
    topology: str
    n_pulses: Annotated[int, Meta(ge=1, le=MAX_PULSES)]
    """Pulse pairs of a block."""
    pulse_rate_hz: Annotated[int, Meta(ge=1, le=10**11)]
    eps_sec: Annotated[float, Meta(gt=0.0, lt=1.0)]
    eps_cor: Annotated[float, Meta(gt=0.0, lt=1.0)]
    f_ec: Annotated[float, Meta(ge=1.0, le=10.0)] = 1.16
    """Of predictions only; a run reports the leakage that it really had."""
    bell_states: tuple[BellStateName, ...]
    estimation: configuration.Estimation = configuration.Estimation()
    """How blocks are judged; designs of the certificate are made from the expected counts."""
    reconciler: configuration.ReconcilerName = "auto"
    scheduler: str | None = None
    """Of a Dask cluster on this machine, tcp://127.0.0.1:PORT, where all users' blocks ripen."""
    users: dict[str, UserLink]
    receiver: ReceiverParams
    relay: str = byzantine.HONEST
    """Or "byzantine:NAME": what the relay does instead; the users are not told."""
    byzantine: Extent = Extent()
    """How much of its work a hostile relay spoils."""
    blocks: Annotated[int, Meta(ge=1, le=10_000)] = 1
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """Of the simulated physics only; keys never depend on it alone."""
    measured: Measured | None = None
    demand: tuple[Demand, ...] = ()
    """For `mdiqkd plan`, which a run does not look at; so are the sets of detectors."""
    detectors: dict[str, Detectors] = {}

    def __post_init__(self) -> None:
        for user in self.users:
            if user in RESERVED:
                raise ValueError(
                    f"users: found a user named {user!r}, which is {RESERVED[user]}; allowed: "
                    "any other name"
                )
        try:
            for user in self.users:
                check_node(user)
            pairs = topology.pairs(self.topology, self.users)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        check_demand(self.demand, self.users)
        if self.scheduler is not None:
            try:
                configuration.check_cluster_address(self.scheduler, like="tcp://")
            except ValueError as error:
                raise ValueError(f"scheduler: {error}") from None
        for pair in pairs:
            self.link(pair)  # raises if the Bell states are impossible, or the users do not fit
        byzantine.check(self.relay, self.byzantine)
        receiver = configuration.attacked(self.receiver, self.relay)
        try:
            memory = check_level(receiver, self.pulse_rate_hz).memory
        except DeviceError as error:
            raise ValueError(f"receiver: {error}") from None
        if memory >= self.n_pulses:
            raise ValueError(
                f"receiver: dead time: found {memory} pulses; allowed: less than the "
                f"{self.n_pulses} of a block"
            )
        if self.measured is not None and len(pairs) != 1:
            raise ValueError(
                f"measured: found published counts for {len(pairs)} pairs; allowed: for one pair"
            )

    @property
    def pairs(self) -> list[UserPair]:
        """Who shares keys with whom, sorted, the lower id first in each."""
        return topology.pairs(self.topology, self.users)

    @property
    def security(self) -> Security:
        """The security budget of each block."""
        return Security(eps_sec=self.eps_sec, eps_cor=self.eps_cor, f_ec=self.f_ec)

    @property
    def analysis(self) -> Analysis:
        """How blocks are judged, before any design is made."""
        return Analysis(method=self.estimation.method, tail=self.estimation.tail)

    @property
    def network(self) -> Network:
        """The same users and arms as a network to plan."""
        users = {
            name: NetworkUser(
                **msgspec.structs.asdict(user.source),
                transmitter=user.transmitter,
                arms={RELAY: user.fiber},
            )
            for name, user in self.users.items()
        }
        return Network(
            title=self.title,
            n_pulses=self.n_pulses,
            pulse_rate_hz=self.pulse_rate_hz,
            eps_sec=self.eps_sec,
            eps_cor=self.eps_cor,
            f_ec=self.f_ec,
            bell_states=self.bell_states,
            users=users,
            relays={RELAY: self.receiver},
            demand=self.demand,
            detectors=self.detectors,
        )

    def link(self, users: UserPair) -> Link:
        """What a prediction needs to know of one pair; the lower id is Alice."""
        return Link(
            n_pulses=self.n_pulses,
            alice=self.users[users[0]],
            bob=self.users[users[1]],
            receiver=self.receiver,
            eps_sec=self.eps_sec,
            eps_cor=self.eps_cor,
            f_ec=self.f_ec,
            bell_states=self.bell_states,
            pulse_rate_hz=self.pulse_rate_hz,
        )


def read(path: Path, *, n_pulses: int | None = None, seed: int | None = None) -> Scenario:
    """Read a scenario, with the number of pulses and the seed replaced if they are given.

    Raises:
        ConfigError: Naming the file, the key, what was found and what is allowed.
    """
    scenario = configuration.read(path, Scenario)
    if n_pulses is not None:
        _within("--n-pulses", n_pulses, 1, MAX_PULSES)
        scenario = msgspec.structs.replace(scenario, n_pulses=n_pulses)
    if seed is not None:
        _within("--seed", seed, 0, 2**63 - 1)
        scenario = msgspec.structs.replace(scenario, seed=seed)
    return scenario


def _within(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{option}: found {value}; allowed: {low} to {high}")
