"""Configuration of one node, read from TOML. Paths are relative to the file that names them."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from mdiqkd_net import byzantine
from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.errors import ConfigError, DeviceError
from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.monitoring.history import Commissioned
from mdiqkd_net.params import (
    MAX_PULSES,
    BellStateName,
    Fiber,
    ReceiverParams,
    Security,
    Source,
    check_arm,
    check_bins,
)
from mdiqkd_net.physics.levels import check_level
from mdiqkd_net.runtime.limits import Limits
from mdiqkd_net.structs import parse_toml

NodeId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}\Z")]
ReconcilerName = Literal["auto", "cascade", "cascade_low_rounds", "ldpc"]
"""With "auto" the coordinator of a pair chooses for each block."""


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This node's certificate and the authority that it trusts, as PEM files."""

    authority: str
    certificate: str
    private_key: str


class Remote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another node: the identity its certificate must carry, and where it listens."""

    node: NodeId
    address: str


class SimulatedDevice(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="simulated"
):
    """Charles' receiver and both fibers in software; asks the transmitters for their light."""

    light_listen: str
    receiver: ReceiverParams
    fibers: dict[NodeId, Fiber]
    transmitters: dict[NodeId, TransmitterParams] = {}
    """How the users' light departs from the ideal that they announce; absent: not at all."""
    seed: int | None = None
    """Of the simulated physics only; secrets never come from it. Absent: from the system."""

    def __post_init__(self) -> None:
        for user in self.transmitters:
            if user not in self.fibers:
                known = ", ".join(sorted(self.fibers)) or "nobody"
                raise ValueError(f"transmitters: found {user!r}; allowed: {known}")
        for user, fiber in self.fibers.items():
            check_arm(fiber, self.transmitter(user))
            check_bins(self.receiver, fiber, self.transmitter(user))

    def transmitter(self, user: str) -> TransmitterParams:
        """A user's transmitter; an ideal one unless the table says more."""
        return self.transmitters.get(user, TransmitterParams())


class CharlesConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The relay."""

    node: NodeId
    listen: str
    tls: Tls
    device: SimulatedDevice
    pulse_rate_hz: Annotated[int, Meta(ge=1, le=10**11)] = 10**9
    segment_pulses: Annotated[int, Meta(ge=1, le=2**40)] = 2 * 10**9
    relay: str = byzantine.HONEST
    """Or "byzantine:NAME": a relay that is hostile, and says so in all its events."""
    byzantine: Extent = Extent()
    """How much of its work a hostile relay spoils."""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        byzantine.check(self.relay, self.byzantine)
        try:
            check_level(attacked(self.device.receiver, self.relay), self.pulse_rate_hz)
        except DeviceError as error:
            raise ValueError(f"device.receiver: {error}") from None


def attacked(receiver: ReceiverParams, relay: str) -> ReceiverParams:
    """The receiver of a relay that behaves so.

    Raises:
        ValueError: There are two attacks on the light, or a behaviour that is not known.
    """
    conduct = byzantine.conduct_of(relay)
    if conduct is None or conduct.attack is None:
        return receiver
    if receiver.attack is not None:
        raise ValueError(f"receiver.attack: found {receiver.attack!r}; allowed with {relay}: none")
    return msgspec.structs.replace(receiver, attack=conduct.attack)


class Estimation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How blocks are judged; chosen before them, the same at both users of a pair."""

    method: Literal["double_scan", "tangent_lp", "certificate"] = "double_scan"
    tail: Literal["chernoff", "poisson", "closed"] = "chernoff"

    def __post_init__(self) -> None:
        if self.method == "certificate" and self.tail != "chernoff":
            raise ValueError(
                f"tail: found {self.tail!r}; allowed with the method certificate: none, "
                "it uses no tail bounds"
            )


class Peer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to share keys with. The node with the greater id dials the other."""

    node: NodeId
    pads: str
    n_pulses: Annotated[int, Meta(ge=1, le=MAX_PULSES)]
    address: str | None = None
    design: str | None = None
    """What the method "certificate" judges the blocks by: a file, the same at both users."""
    blocks: Annotated[int, Meta(ge=0)] = 1
    """How many blocks to make; 0 is without end."""
    commissioned: Commissioned = Commissioned()
    """What the monitors hold the link against; keys never depend on it."""


class SystemEntropyConfig(Struct, frozen=True, forbid_unknown_fields=True, tag="system"):
    """The operating system's generator."""


class FileEntropyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="file"):
    """A file of random bytes, each used once."""

    path: str


class DeviceEntropyConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="device"
):
    """A hardware generator: a character device or a named pipe."""

    path: str
    timeout_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 5.0


class Postprocessing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Dask cluster that reconciles and amplifies. Raw keys travel to it."""

    scheduler: str
    """tls://HOST:PORT, or tcp://HOST:PORT on a loopback address."""
    tls: Tls | None = None
    """Certificate of this node in the cluster, and the cluster's own authority."""
    deadline_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 20.0
    """How long a worker may take for one step; then the block ends."""

    def __post_init__(self) -> None:
        check_cluster_address(self.scheduler)
        if self.scheduler.startswith("tls://") != (self.tls is not None):
            found = "a" if self.tls else "no"
            raise ValueError(
                f"tls: found {found} table with scheduler = {self.scheduler!r}; "
                "allowed: one with tls://, none with tcp://"
            )


class EndpointConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's node."""

    node: NodeId
    listen: str
    tls: Tls
    relay: Remote
    light: str
    """Address of the simulated fiber; every transmitter of this version is simulated."""
    source: Source
    security: Security
    store: str
    peers: list[Peer]
    estimation: Estimation = Estimation()
    bell_states: tuple[BellStateName, ...] = ("psi_minus", "psi_plus")
    reconciler: ReconcilerName = "auto"
    qber_hint: Annotated[float, Meta(gt=0.0, lt=0.25)] = 0.02
    """Z error rate that the first reconciliation of a pair starts from."""
    entropy: SystemEntropyConfig | FileEntropyConfig | DeviceEntropyConfig = SystemEntropyConfig()
    """Of this user's choices, hashes and seeds. Handshakes use the system's always."""
    patience_s: Annotated[float, Meta(gt=0.0, le=86400.0)] = 60.0
    """How long silence is waited out; must be longer than the relay takes for a segment."""
    limits: Limits = Limits()
    postprocessing: Postprocessing | None = None
    """Absent: blocks ripen in threads of this process."""

    def __post_init__(self) -> None:
        # Most likely the peer is as patient as this node, and shall hear that the block has ended.
        if self.postprocessing is not None and self.postprocessing.deadline_s >= self.patience_s:
            raise ValueError(
                f"postprocessing.deadline_s: found {self.postprocessing.deadline_s:g}; "
                f"allowed: less than patience_s, which is {self.patience_s:g}"
            )


def check_cluster_address(address: str, *, like: str | None = None) -> None:
    """Return if keys may travel to a scheduler or a worker at this address.

    Args:
        address: As Dask writes it, PROTOCOL://HOST:PORT.
        like: That of the scheduler; a worker must have the same protocol.

    Raises:
        ValueError: They would travel in the open, or it is no address.
    """
    protocol, separator, place = address.partition("://")
    host = place.rpartition(":")[0].strip("[]")
    by_tcp = protocol == "tcp" and _is_loopback(host)
    alike = like is None or like.startswith(protocol + separator)
    if not (host and separator and alike and (protocol == "tls" or by_tcp)):
        allowed = "tls://HOST:PORT, or tcp://HOST:PORT on a loopback address"
        if like is not None:
            allowed = f"{like.partition('://')[0]}://, like the scheduler's; {allowed}"
        raise ValueError(f"found {address!r}; allowed: {allowed}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Config = TypeVar("Config", bound=Struct)


def read(path: Path, kind: type[Config]) -> Config:
    """Read a configuration from TOML.

    Raises:
        ConfigError: Naming the file, the key, what was found and what is allowed.
    """
    return parse_toml(read_text(path), kind, str(path))


def read_text(path: Path) -> str:
    """The text of a file that a user names.

    Raises:
        ConfigError: It cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
