"""Configuration of one node, read from TOML. Paths are relative to the file that names them."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from msgspec import Meta, Struct

from mdiqkd_net.errors import ConfigError, DeviceError
from mdiqkd_net.imperfections import TransmitterParams
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
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        try:
            check_level(self.device.receiver, self.pulse_rate_hz)
        except DeviceError as error:
            raise ValueError(f"device.receiver: {error}") from None


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
