"""The harness against a relay: connections as one user, as two, and as their transmitters."""

import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio

from mdiqkd_net.conformance.cases import Broken, Case
from mdiqkd_net.conformance.connection import Connection, TlsConnection
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.harness import Harness
from mdiqkd_net.conformance.identity import Identity, stranger
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.conformance.relay.light import Transmitter
from mdiqkd_net.protocol.correspondence import Correspondence
from mdiqkd_net.protocol.handshake import RoleName
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import PairReady, PairRequest, Ping, Pong

SECOND_USER: Final = "a second --identity"
LIGHT: Final = "--light"
N_PULSES: Final = 300_000

Address = tuple[str, int]


class RelayHarness(Harness):
    """Connections to the relay under test.

    Args:
        address: Where the relay listens for users.
        identities: One or two users that the relay knows.
        certificate: The file of the first, for handshakes that must fail.
        light: Where it listens for transmitters of simulated light.
        n_pulses: Of the sessions whose announcements are checked.
        deadlines, seed: As in `Harness`.
    """

    def __init__(
        self,
        address: Address,
        identities: list[Identity],
        certificate: Path,
        *,
        light: Address | None = None,
        n_pulses: int = N_PULSES,
        deadlines: Deadlines = Deadlines(),  # noqa: B008  # frozen
        seed: int = 1,
    ) -> None:
        super().__init__(deadlines, seed)
        self.address = address
        self.light = light
        self.identities = identities
        self.certificate = certificate
        self.n_pulses = n_pulses
        self._shared: dict[str, Any] = {}
        self._n_requests = 0
        self._seen: set[int] = set()

    def why_not(self, case: Case[Any]) -> str | None:
        """Why a case cannot be run with what the harness was given; None if it can."""
        if SECOND_USER in case.needs and len(self.identities) < 2:
            return f"needs {SECOND_USER}"
        if LIGHT in case.needs and self.light is None:
            return f"needs {LIGHT}: where the relay listens for transmitters of simulated light"
        return None

    async def probe(self) -> str | None:
        """A fresh connection of each user that was there, greeted in order.

        A fresh user has asked for nothing, so what the case before left open ends, too.
        """
        try:
            for number in sorted(self._seen | {0}):
                await self.user(number)
        except (Broken, OSError) as error:
            return str(error)
        finally:
            self._seen.clear()
            await self.finish()
        return None

    async def tcp(self) -> trio.abc.Stream:
        """A bare TCP connection.

        Raises:
            Broken: The relay does not accept it.
        """
        try:
            with trio.fail_after(self.deadlines.reaction_s):
                stream = await self.connect_bare(self.address)
        except (OSError, trio.TooSlowError) as error:
            raise Broken(f"no TCP connection to the relay: {error}") from None
        self.opened.push_async_callback(trio.aclose_forcefully, stream)
        return stream

    async def secured(
        self,
        number: int = 0,
        *,
        context: ssl.SSLContext | None = None,
        label: str = "",
        correspondence: Correspondence | None = None,
    ) -> Peer:
        """A connection after the TLS handshake; nothing is said yet.

        Raises:
            Broken: No TLS.
        """
        return await self._secured(self.address, number, context, label, correspondence)

    async def _secured(
        self,
        address: Address,
        number: int,
        context: ssl.SSLContext | None,
        label: str,
        correspondence: Correspondence | None = None,
    ) -> Peer:
        who = self.identities[number]
        try:
            with trio.fail_after(self.deadlines.reaction_s):
                connection = await self.connect(address, who, context)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            why = str(error.__cause__ or error) or type(error).__name__
            raise Broken(f"no TLS connection to the relay: {why}") from None
        peer = Peer(connection, label or who.node, self.deadlines, self.log, correspondence)
        self.opened.push_async_callback(peer.leave)
        return peer

    async def connect_bare(self, address: Address) -> trio.abc.Stream:
        """A bare TCP connection; replaced together with `connect`.

        Raises:
            OSError: There is none.
        """
        return await trio.open_tcp_stream(*address)

    async def connect(
        self, address: Address, who: Identity, context: ssl.SSLContext | None
    ) -> Connection:
        """An encrypted connection; a test that runs a relay elsewhere replaces this.

        Raises:
            OSError, trio.BrokenResourceError: There is none.
        """
        tcp = await trio.open_tcp_stream(*address)
        stream = trio.SSLStream(tcp, context or who.client, https_compatible=True)
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return TlsConnection(stream)

    async def user(self, number: int = 0, *, label: str = "", **hello: Any) -> Peer:
        """A user that has greeted and was greeted; fields of its Hello may be changed.

        Raises:
            Broken: The relay does not greet, or not as it must.
        """
        self._seen.add(number)
        peer = await self.secured(number, label=label)
        return await self.greeted(peer, number, "endpoint", **hello)

    async def back(self, user: Peer, **hello: Any) -> Peer:
        """A new connection of a user whose process has not ended.

        Raises:
            Broken: The relay does not greet, or does not go on where they were.
        """
        number = self.number_of(user)
        peer = await self.secured(number, label=user.label, correspondence=user.correspondence)
        await self.greeted(peer, number, "endpoint", **hello)
        if not peer.kept:
            raise Broken(f"{user.label}: it does not go on, though neither epoch has changed")
        return peer

    async def taken_up(self, user: Peer) -> Peer:
        """Wait until the relay has read the user's Hello: it answers what comes behind it.

        Raises:
            Broken: It does not.
        """
        await user.tell(Ping(n=1))
        await user.expect(Pong)
        return user

    def number_of(self, user: Peer) -> int:
        """Which identity a user is."""
        return [who.node for who in self.identities].index(user.label)

    async def transmitter(self, number: int = 0) -> Transmitter:
        """The transmitter of a user, connected and greeted; answers nothing yet."""
        assert self.light is not None  # noqa: S101  # by `why_not`
        label = f"{self.identities[number].node}'s light"
        peer = await self._secured(self.light, number, None, label)
        await self.greeted(peer, number, "transmitter")
        return Transmitter(peer, number)

    async def greeted(self, peer: Peer, number: int, role: RoleName, **hello: Any) -> Peer:
        """Exchange Hellos on a fresh connection."""
        await peer.greet(self.identities[number].node, role, **hello)
        await peer.met()
        return peer

    async def two_users(self) -> tuple[Peer, Peer]:
        """Both users, connected; the one with the lesser node id first."""
        first, second = sorted((0, 1), key=lambda number: self.identities[number].node)
        return (
            await self.taken_up(await self.user(first)),
            await self.taken_up(await self.user(second)),
        )

    def request(self, of: Peer, n_pulses: int = N_PULSES) -> PairRequest:
        """A user's next request: a pair with the other identity, or with somebody absent."""
        others = [who.node for who in self.identities if who.node != of.label]
        self._n_requests += 1
        peer = others[0] if others else "absent"
        return PairRequest(n_pulses=n_pulses, peer=peer, request=self._n_requests)

    async def ready(
        self, users: tuple[Peer, Peer], n_pulses: int = N_PULSES
    ) -> tuple[tuple[PairReady, Frame], tuple[PairReady, Frame]]:
        """Both users ask; what the relay tells each of them."""
        for user in users:
            await user.tell(self.request(user, n_pulses))
        first, second = users
        return await first.expect(PairReady), await second.expect(PairReady)

    def foreign(self) -> Identity:
        """The first user's name, certified by an authority that the relay does not know."""
        if "foreign" not in self._shared:
            with tempfile.TemporaryDirectory() as directory:
                self._shared["foreign"] = stranger(Path(directory), self.identities[0].node)
        found: Identity = self._shared["foreign"]
        return found

    def shared(self, name: str) -> Any:
        """What an earlier case kept for later ones; None if there is nothing."""
        return self._shared.get(name)

    def share(self, name: str, value: Any) -> None:
        """Keep something for later cases."""
        self._shared[name] = value


async def ended(stream: trio.abc.Stream, within_s: float) -> bool:
    """Whether the other side closes a bare TCP connection in time; what it sends is dropped."""
    with trio.move_on_after(within_s) as waiting:
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
    return not waiting.cancelled_caught
