"""Where nodes listen and whom they dial."""

import errno
import ipaddress
import math
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import trio

from mdiqkd_net.errors import ConfigError, RemoteProtocolError

BACKLOG: Final = 256
RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 2.0
UNREACHABLE: Final = 0x0404
_INHERITED: Final = "fd://"

Connect = Callable[[str, str], Awaitable[trio.abc.Stream]]
"""One attempt to connect to an address; the key of the configuration is for errors."""


def parse_address(address: str, key: str) -> tuple[str, int]:
    """Split "HOST:PORT".

    Raises:
        ConfigError: It is not that.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{key}: found {address!r}; allowed: HOST:PORT with a port up to 65535")
    return host.strip("[]"), int(port)


async def listen(address: str, key: str) -> trio.SocketListener:
    """Listen on "HOST:PORT", or on an inherited socket "fd://N" as service managers pass it.

    Raises:
        ConfigError: The port is taken, the host is not ours, or N is no listening socket.
    """
    if address.startswith(_INHERITED):
        return trio.SocketListener(_inherited(address, key))
    host, port = parse_address(address, key)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as error:
        why = {
            errno.EADDRINUSE: "the port is in use; choose another, or stop who has it",
            errno.EADDRNOTAVAIL: "no interface of this machine has that address",
            errno.EACCES: "ports below 1024 need privileges",
        }.get(error.errno or 0, error.strerror or str(error))
        raise ConfigError(f"{key}: cannot listen on {address}: {why}") from None
    for extra in listeners[1:]:
        await extra.aclose()
    return listeners[0]


def _inherited(address: str, key: str) -> trio.socket.SocketType:
    number = address.removeprefix(_INHERITED)
    if not number.isdecimal():
        raise ConfigError(f"{key}: found {address!r}; allowed: fd:// and a file descriptor")
    try:
        inherited = socket.socket(fileno=int(number))
        listening = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(f"{key}: {address} is not a socket: {error.strerror}") from None
    if not listening:
        inherited.detach()  # not ours to close
        raise ConfigError(f"{key}: {address} is a socket that does not listen")
    return trio.socket.from_stdlib_socket(inherited)


class LocalListener(trio.abc.Listener[trio.SocketStream]):
    """Listens on a Unix socket, and takes its name away at the end."""

    def __init__(self, listening: trio.socket.SocketType, path: Path) -> None:
        self._listener = trio.SocketListener(listening)
        self._path = path

    async def accept(self) -> trio.SocketStream:
        """Wait for somebody."""
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Close, and remove the name, which may be another's once we are closed."""
        if self._listener.socket.fileno() >= 0:
            self._path.unlink(missing_ok=True)
        await self._listener.aclose()


async def listen_local(path: Path) -> LocalListener:
    """Listen on a Unix socket with mode 0600; what a crashed process left there is removed.

    Raises:
        ConfigError: Somebody listens there, or nobody can.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            if probe.connect_ex(str(path)) in (0, errno.EAGAIN):
                raise ConfigError(f"{path}: another node is running on this store")
        if path.is_socket():
            path.unlink()
        # Nobody can connect before `listen`, so the mode is right before it counts.
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(f"{path}: cannot listen: {error.strerror}") from None
    except BaseException:
        listening.close()
        raise
    return LocalListener(trio.socket.from_stdlib_socket(listening), path)


def address_of(listener: trio.SocketListener) -> str:
    """Where a listener listens, as HOST:PORT."""
    host, port = listener.socket.getsockname()[:2]
    return f"{host}:{port}"


def remote_host(stream: trio.abc.Stream) -> str:
    """Where a stream comes from, for counting; nothing if that is no place of the internet."""
    if not isinstance(stream, trio.SocketStream):
        return ""
    try:
        return host_of(stream.socket.getpeername())
    except OSError:  # gone already
        return ""


def host_of(peer: Any) -> str:
    """What counts as one address of a peer's: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        host = ipaddress.ip_address(peer[0].partition("%")[0])
    except (IndexError, ValueError):
        return ""
    if isinstance(host, ipaddress.IPv4Address):
        return str(host)
    if host.ipv4_mapped is not None:
        return str(host.ipv4_mapped)
    # Whoever has one address of such a network has 2^64 of them.
    return str(ipaddress.ip_network((host, 64), strict=False))


async def connect(address: str, key: str) -> trio.SocketStream:
    """Try once to connect by TCP.

    Raises:
        ConfigError: No address.
        OSError: Nobody answers.
    """
    host, port = parse_address(address, key)
    # One address of the host after the other, however long that takes.
    return await trio.open_tcp_stream(host, port, happy_eyeballs_delay=math.inf)


async def dial(
    address: str, key: str, patience_s: float, connect: Connect = connect
) -> trio.abc.Stream:
    """Connect, again and again while the other side is not there yet.

    Raises:
        RemoteProtocolError: It did not come within `patience_s`.
    """
    wait_s = RETRY_S
    why = "no answer"
    with trio.move_on_after(patience_s):
        while True:
            try:
                return await connect(address, key)
            except OSError as error:
                why = str(error.__cause__ or error)
            await trio.sleep(wait_s)  # back-off between attempts, bounded by the deadline above
            wait_s = min(2 * wait_s, MAX_RETRY_S)
    raise RemoteProtocolError(
        f"{key}: cannot reach {address} within {patience_s:g} s: {why}", UNREACHABLE
    )
