"""Asking the running node to agree with its peer on keys, over a Unix socket beside the store.

One line of JSON each way, and no key: once both users have set keys aside, whoever asked takes them
from the store. The socket has mode 0600, so who may ask is who may read the store.
"""

import socket
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.records import DeliveredKey, NoKeyError, SimulatedKeyError
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.handout import MAX_KEYS

MAX_LINE_BYTES: Final = 4096
ANSWER_S: Final = 10.0
"""How long a node waits for its peer before it answers."""
MAX_ATTEMPTS: Final = 3
"""Times that other programs may take what was agreed upon for us."""
_MAX_PATH_BYTES: Final = 107
"""What the kernel takes as the name of a Unix socket."""


class AwayError(KeyStoreError):
    """The node of this store cannot reach the peer."""

    exit_code = 3


class NoNodeError(AwayError):
    """No node is running on the store."""


class KeyWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a program asks of the node."""

    peer: Annotated[str, Meta(max_length=64)]
    n_keys: Annotated[int, Meta(ge=1, le=MAX_KEYS)]
    allow_simulated: bool


class KeyAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node answers; `why` is empty if the keys are agreed upon."""

    kind: Literal["agreed", "none", "simulated", "away", "refused"]
    why: Annotated[str, Meta(max_length=1024)] = ""


def socket_path(store: Path) -> Path:
    """Where the node of a store listens.

    Raises:
        ConfigError: The kernel takes no name that long.
    """
    path = store.absolute().with_name(store.name + ".sock")
    if len(bytes(path)) > _MAX_PATH_BYTES:
        raise ConfigError(
            f"{path}: found {len(bytes(path))} bytes; allowed for a socket: {_MAX_PATH_BYTES}; "
            "give the store a shorter path"
        )
    return path


def ask_node(store: Path, wish: KeyWish, *, timeout_s: float = ANSWER_S + 5.0) -> None:
    """Return once both users have set the keys aside.

    Raises:
        NoNodeError: No node runs on this store.
        AwayError: Its peer does not answer.
        NoKeyError: There are not so many keys.
        SimulatedKeyError: Only simulated keys are left, and they are not allowed.
        KeyStoreError: The peer refuses, or the node cannot be understood.
    """
    path = socket_path(store)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(str(path))
            link.sendall(msgspec.json.encode(wish) + b"\n")
            line = _line(link)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoNodeError(
            f"{store}: no node is running on this store, so nobody can agree with "
            f"{wish.peer!r} on keys; start it with `mdiqkd node`"
        ) from None
    except OSError as error:
        raise AwayError(f"{path}: {error.strerror or 'the node does not answer'}") from None
    try:
        answer = msgspec.json.decode(line, type=KeyAnswer)
    except (msgspec.DecodeError, RecursionError):
        raise KeyStoreError(f"{path}: the node's answer cannot be understood") from None
    kinds = {"none": NoKeyError, "simulated": SimulatedKeyError, "away": AwayError}
    if answer.kind != "agreed":
        raise kinds.get(answer.kind, KeyStoreError)(answer.why)


def take_new(
    store: KeyStore, path: Path, peer: str, n_keys: int, *, allow_simulated: bool = False
) -> list[DeliveredKey]:
    """Have the node agree with a peer on new keys, and take them: all of them, or none.

    Args:
        store: The open store.
        path: Its file, beside which the node listens.
        peer: The user who then takes the same keys by their names.
        n_keys: How many.
        allow_simulated: Also take keys from simulated light, which protect nothing.

    Raises:
        NoNodeError: No node runs on this store; `KeyStore.take_unagreed` does without one.
        AwayError: Its peer does not answer.
        NoKeyError: There are not so many keys.
        SimulatedKeyError: Only simulated keys are left, and they are not allowed.
        KeyStoreError: The peer refuses, or the store cannot be used.
        ConfigError: `n_keys` is no number of keys, or the store's path is too long for a socket.
    """
    if n_keys < 1:
        raise ConfigError(f"number of keys: found {n_keys}; allowed: 1 and more")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        store.choose(peer, n_keys, allow_simulated=allow_simulated)  # all, or none
        for done in range(0, n_keys, MAX_KEYS):
            n_wanted = min(MAX_KEYS, n_keys - done)
            wish = KeyWish(peer=peer, n_keys=n_wanted, allow_simulated=allow_simulated)
            ask_node(path, wish)
        try:
            return store.take_many(peer, n_keys, allow_simulated=allow_simulated)
        except NoKeyError:  # another program took ours, or the node has restarted since
            if attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _line(link: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
        data = link.recv(MAX_LINE_BYTES)
        if not data:
            break
        line += data
    return line
