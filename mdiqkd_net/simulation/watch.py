"""What must be true whatever goes wrong, checked while a simulated network runs.

The numbers K1 to K12 are those of docs/explanation/simulation.md. Stores are read from the nodes'
own files by the store's own code; frames are read where they leave a node.
"""

from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.pads import describe
from mdiqkd_net.keys.records import KEY_SIZE_BITS
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.handout import Owner
from mdiqkd_net.wire.codec import CAPS, decode
from mdiqkd_net.wire.frames import Frame, FrameReader
from mdiqkd_net.wire.messages import BlockOpen, Gate, Message, Prepare, Sift

SALT: Final = b"simulation"
STORE: Final = "keys.db"

UserPair = tuple[str, str]


def pads_name(peer: str) -> str:
    """File of a node's pads for a peer, in the node's directory."""
    return f"{peer}.pads"


class Watch:
    """Sees everything; `violations` is what should not have been.

    Args:
        pairs: Users who make keys with each other, the lower id first.
        files: A node's directory in its present life.
    """

    def __init__(self, pairs: Collection[UserPair], files: Callable[[str], Path]) -> None:
        self.violations: list[str] = []
        self._pairs = tuple(pairs)
        self._files = files
        self._readers: dict[int, FrameReader] = {}
        self._tagged: dict[tuple[str, str, int], bytes] = {}
        self._prepared: dict[tuple[UserPair, int], bytes] = {}
        self._keyless: set[bytes] = set()
        self._gates: defaultdict[tuple[UserPair, int], set[str]] = defaultdict(set)
        self._delivered: dict[tuple[str, str], bytes] = {}
        self._made: dict[tuple[str, str, bytes], int] = {}
        self._aborted: set[tuple[str, str, bytes]] = set()

    def sent(self, connection: int, sender: str, receiver: str, data: bytes) -> None:
        """Bytes leave a user for another user, after the handshake."""
        reader = self._readers.setdefault(connection, FrameReader(CAPS))
        for frame in reader.receive_data(data):
            self._check_frame(sender, receiver, frame, decode(frame))

    def reported(self, node: str, event: str, fields: dict[str, Any]) -> None:
        """A user reports the end of a block."""
        if event not in ("block.key", "block.aborted") or not fields.get("block_id"):
            return
        users = fields["users"]
        peer = users[1] if users[0] == node else users[0]
        block = node, peer, bytes.fromhex(fields["block_id"])
        if event == "block.key":
            self._made[block] = fields["n_keys"]
        else:
            self._aborted.add(block)

    def take(self, node: str, peer: str, wanted: str | None) -> str | None:
        """An application takes a key, the oldest or the one that is named; returns its id.

        Raises:
            KeyStoreError: The store has none for it.
        """
        with KeyStore.open(self._files(node) / STORE, create=False) as store:
            key = store.take(peer, key_id=wanted, allow_simulated=True)
        if (node, key.key_id) in self._delivered:
            self._violated("K1", f"{node} delivers key {key.key_id} twice")
        if wanted is None:
            self._check_twin(node, peer, key.key_id)
        with key.value as secret:
            value = self._delivered[node, key.key_id] = bytes(secret.view)
        if self._delivered.get((peer, key.key_id), value) != value:
            self._violated("K2", f"{node} and {peer} deliver different values of {key.key_id}")
        return key.key_id

    def check_requests(self) -> None:
        """Every request for keys has come to its end; for when all users have met in peace."""
        for node, peer in (ends for pair in self._pairs for ends in (pair, pair[::-1])):
            try:
                with KeyStore.open(self._files(node) / STORE, create=False) as store:
                    requests = store.open_requests(peer)
            except KeyStoreError:
                continue  # `check_stores` tells
            waiting = [r for r in requests if r.phase is not Owner.ASSIGNED]
            for request in waiting:
                name = request.request.hex()[:8]
                self._violated("K12", f"{node} leaves request {name} {request.phase.value}")

    def _check_twin(self, node: str, peer: str, key_id: str) -> None:
        with KeyStore.open(self._files(peer) / STORE, create=False) as store:
            states = {key.key_id: key.state for key in store.keys(node)}
        state = states.get(key_id)
        if state not in ("assigned", "delivered"):
            self._violated("K12", f"{node} delivers key {key_id}; at {peer} it is {state}")

    def check_stores(self) -> None:
        """Compare the stores of all pairs; everything in them is from the disk."""
        for pair in self._pairs:
            self._check_pair(*pair)

    def _check_pair(self, one: str, other: str) -> None:
        states: dict[str, dict[str, str]] = {}
        prints: dict[str, dict[str, str]] = {}
        for node, peer in ((one, other), (other, one)):
            path = self._files(node) / STORE
            if not path.exists() or not path.stat().st_size:
                states[node], prints[node] = {}, {}
                continue
            try:
                store = KeyStore.open(path, create=False)
            except KeyStoreError as error:
                self._violated(
                    "K3", f"{node} cannot open its store: {error}".replace(str(path), STORE)
                )
                return
            with store:
                keys = store.keys(peer)
                prints[node] = store.fingerprints(peer, SALT)
            states[node] = {key.key_id: key.state for key in keys}
            self._check_ledger(node, peer, keys)
        for node, peer in ((one, other), (other, one)):
            offered = [i for i, state in states[node].items() if state != "prepared"]
            if lost := [i for i in offered if i not in states[peer]]:
                self._violated("K3", f"{node} offers {len(lost)} keys that {peer} has lost")
        for key_id in prints[one].keys() & prints[other].keys():
            if prints[one][key_id] != prints[other][key_id]:
                self._violated("K2", f"{one} and {other} hold different values of {key_id}")

    def _check_ledger(self, node: str, peer: str, keys: list[Any]) -> None:
        offered: defaultdict[bytes, int] = defaultdict(int)
        for key in keys:
            if key.state != "prepared":
                offered[key.block_id] += 1
            if key.state == "available" and (node, key.key_id) in self._delivered:
                self._violated("K1", f"{node} offers key {key.key_id} again")
        for (owner, other, block_id), n_keys in self._made.items():
            if (owner, other) == (node, peer) and offered[block_id] != n_keys:
                self._violated(
                    "K3",
                    f"{node} made {n_keys} keys with {peer} in block {block_id.hex()[:8]}; "
                    f"the store knows {offered[block_id]}",
                )
        for owner, other, block_id in sorted(self._aborted):
            if (owner, other) == (node, peer) and offered[block_id]:
                self._violated("K11", f"{node} offers keys of block {block_id.hex()[:8]}: aborted")

    def _check_frame(self, sender: str, receiver: str, frame: Frame, message: Message) -> None:
        low, high = sorted((sender, receiver))
        stream = (low, high), frame.stream
        if isinstance(message, BlockOpen):
            self._gates[stream].clear()
        elif isinstance(message, Gate):
            self._gates[stream].add(sender)
        elif isinstance(message, Sift) and len(self._gates[stream]) < 2:
            self._violated("K7", f"{sender} reveals settings before both gates are closed")
        pad, tag = getattr(message, "pad", None), getattr(message, "tag", None)
        if pad is None or tag is None:
            return
        known = self._tagged.setdefault((sender, receiver, pad), frame.body)
        if known != frame.body:
            self._violated(
                "K5", f"{sender} authenticates two messages to {receiver} with pad {pad}"
            )
        info = describe(self._files(sender) / pads_name(receiver))
        if info.n_pads - info.remaining_send <= pad:
            self._violated("K8", f"{sender} uses pad {pad} for {receiver} before it is burnt")
        if isinstance(message, Prepare):
            self._prepared[stream] = message.block_id
            if message.bits < KEY_SIZE_BITS:
                self._keyless.add(message.block_id)
        block_id = getattr(message, "block_id", self._prepared.get(stream, b""))
        # Bits that make no key leave nothing in a store to look for.
        if block_id not in self._keyless and "Abort" not in type(message).__name__:
            self._check_durable(sender, receiver, type(message).__name__, block_id)

    def _check_durable(self, node: str, peer: str, name: str, block_id: bytes) -> None:
        """Every tagged message but an abort says: my key is durable."""
        with KeyStore.open(self._files(node) / STORE, create=False) as store:
            blocks = {key.block_id: key.state for key in store.keys(peer)}
        state = blocks.get(block_id)
        if state is None or (name == "Committed" and state == "prepared"):
            self._violated("K8", f"{node} says {name}; its store has the block as {state}")

    def _violated(self, number: str, what: str) -> None:
        text = f"{number}: {what}"
        if text not in self.violations:
            self.violations.append(text)
