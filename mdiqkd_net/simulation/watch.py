"""What must be true whatever goes wrong, checked while a simulated network runs.

The numbers K1 to K12 are those of docs/explanation/simulation.md. Stores are read from the nodes'
own files by the store's own code (`books`); frames are read where they leave a node (`frames`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mdiqkd_net.errors import KeyStoreError
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import UNSETTLED, Phase
from mdiqkd_net.protocol.handout import Owner
from mdiqkd_net.protocol.states import Role
from mdiqkd_net.simulation.books import STORE, Books, Shelf
from mdiqkd_net.simulation.frames import FrameWatch, Tagged, UserPair
from mdiqkd_net.wire.frames import Frame
from mdiqkd_net.wire.messages import Commit, CommitAborted, Committed, Prepare, Vote

_P, _C, _F, _A = Phase.PREPARED, Phase.COMMITTED, Phase.CONFIRMED, Phase.ABORTED

TOGETHER: Final[frozenset[tuple[Phase | None, Phase | None]]] = frozenset(
    {(_P, None), (_P, _P), (_C, _P), (_C, _C), (_F, _C), (_A, None), (_A, _P), (_A, _A)}
)
"""Phases (coordinator, participant) of a block from which its commit can still come to an end, or
has. In any other, one of them waits for a word that nobody will say, or has a key alone."""

SAYS_IN: Final[Mapping[type[Tagged], tuple[Phase, ...]]] = MappingProxyType(
    {
        Prepare: (_P, _C, _F, _A),
        Vote: (_P, _C, _A),
        Commit: (_C, _F),
        Committed: (_C,),
        CommitAborted: (_A,),
    }
)
"""Phases that may be durable when a message leaves: first the one in which it is said, then those
that may have come while it waited for the connection."""


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
        self._shelf = Shelf(files)
        self._frames = FrameWatch(files, self._violated, self._check_said)
        self._delivered: dict[tuple[str, str], bytes] = {}
        self._made: defaultdict[UserPair, dict[bytes, int]] = defaultdict(dict)
        self._aborted: defaultdict[UserPair, set[bytes]] = defaultdict(set)
        self._next_block: dict[UserPair, int] = {}
        self._set_back: set[str] = set()

    def sent(self, connection: int, sender: str, receiver: str, data: bytes) -> None:
        """Bytes leave a user for another user, after the handshake."""
        self._frames.sent(connection, sender, receiver, data)

    def reported(self, node: str, event: str, fields: dict[str, Any]) -> None:
        """A user reports something."""
        if event == "commit.alarm" and not self._set_back & set(fields["users"]):
            self._violated(
                "K9",
                f"{node} hears {fields['heard']} of block {fields['block_id'][:8]} in phase "
                f"{fields['phase']}, though no store was set back",
            )
        if event not in ("block.key", "block.aborted") or not fields.get("block_id"):
            return
        users = fields["users"]
        pair = node, users[users[0] == node]
        block_id = bytes.fromhex(fields["block_id"])
        if event == "block.key":
            self._made[pair][block_id] = fields["n_keys"]
            self._frames.check_leak(node, block_id, fields["leak_ec_bits"])
        else:
            self._aborted[pair].add(block_id)

    def take(self, node: str, peer: str, wanted: str | None) -> str | None:
        """An application takes a key, the oldest or the one that is named; returns its id.

        Raises:
            KeyStoreError: The store has none for it.
        """
        with KeyStore.open(self._files(node) / STORE, create=False) as store:
            key = store.take(peer, key_id=wanted, allow_simulated=True)
        self._shelf.changed(node)
        # Who puts an older store back delivers again; the manual says so.
        if (node, key.key_id) in self._delivered and node not in self._set_back:
            self._violated("K1", f"{node} delivers key {key.key_id} twice")
        if wanted is None:
            self._check_twin(node, peer, key.key_id)
        with key.value as secret:
            value = self._delivered[node, key.key_id] = bytes(secret.view)
        if self._delivered.get((peer, key.key_id), value) != value:
            self._violated("K2", f"{node} and {peer} deliver different values of {key.key_id}")
        return key.key_id

    def _check_twin(self, node: str, peer: str, key_id: str) -> None:
        key = self._shelf.books(peer, node).keys.get(key_id)
        state = None if key is None else key.state
        if state not in ("assigned", "delivered") and not self._set_back & {node, peer}:
            self._violated("K12", f"{node} delivers key {key_id}; at {peer} it is {state}")

    def put_back(self, node: str, *, pads: bool, store: bool) -> None:
        """A node's pads or store become older copies of themselves."""
        self._frames.put_back(node, pads=pads, store=store)
        if not store:
            return
        self._set_back.add(node)
        self._shelf.release(node)
        for pair in self._pairs:
            self._next_block.pop(pair, None)
            self._next_block.pop(pair[::-1], None)

    def ended(self, node: str) -> None:
        """A node's process has ended."""
        self._shelf.release(node)
        self._frames.ended(node)

    def close(self) -> None:
        """Let go of all files."""
        for pair in self._pairs:
            for node in pair:
                self._shelf.release(node)

    def unsettled(self) -> set[tuple[str, str]]:
        """What waits for somebody's word, with the number of what must be true of it.

        Nothing of a pair with a store that was set back.
        """
        waiting: set[tuple[str, str]] = set()
        for pair in self._pairs:
            if self._set_back & set(pair):
                continue
            for role, node, peer in _roles(pair):
                books = self._shelf.books(node, peer)
                for record in books.records.values():
                    if record.phase in UNSETTLED[role]:
                        name = record.block_id.hex()[:8]
                        waiting.add(("K9", f"block {name} of {node} with {peer}"))
                for request in books.requests:
                    if request.phase is not Owner.ASSIGNED:
                        name = request.request.hex()[:8]
                        waiting.add(("K12", f"request {name} of {node} to {peer} for keys"))
        return waiting

    def check_stores(self, changed: str | None = None) -> None:
        """Compare stores, from the disk: all, or those of one node with its peers'."""
        for pair in self._pairs:
            for node in pair:
                if changed is None or changed == node:
                    self._shelf.changed(node)
        for pair in self._pairs:
            if changed is None or changed in pair:
                self._check_pair(*pair)

    def _check_pair(self, one: str, other: str) -> None:
        books: dict[str, Books] = {}
        for node, peer in ((one, other), (other, one)):
            try:
                books[node] = self._shelf.books(node, peer)
            except KeyStoreError as error:
                path = str(self._files(node) / STORE)
                self._violated("K3", f"{node} cannot open its store: {error}".replace(path, STORE))
                return
        for key_id in books[one].prints.keys() & books[other].prints.keys():
            if books[one].prints[key_id] != books[other].prints[key_id]:
                self._violated("K2", f"{one} and {other} hold different values of {key_id}")
        for node, peer in ((one, other), (other, one)):
            if not books[node].balances:
                self._violated("K3", f"the ledger of {node} for {peer} does not balance")
            self._check_number(node, peer, books[node].next_block)
        # A store that was set back knows less than was said. What holds nevertheless is above.
        if not self._set_back & {one, other}:
            for node, peer in ((one, other), (other, one)):
                self._check_keys(node, peer, books[node], books[peer])
            self._check_commits(one, other, books[one], books[other])

    def _check_number(self, node: str, peer: str, next_block: int) -> None:
        if next_block < self._next_block.get((node, peer), 1):
            self._violated("K4", f"{node} goes back to block {next_block} with {peer}")
        self._next_block[node, peer] = next_block

    def _check_keys(self, node: str, peer: str, own: Books, others: Books) -> None:
        offered: defaultdict[bytes, int] = defaultdict(int)
        lost = 0
        for key in own.keys.values():
            if key.state == "prepared":
                continue
            offered[key.block_id] += 1
            lost += key.key_id not in others.keys
            if key.state == "available" and (node, key.key_id) in self._delivered:
                self._violated("K1", f"{node} offers key {key.key_id} again")
        if lost:
            self._violated("K3", f"{node} offers {lost} keys that {peer} has lost")
        for block_id, n_keys in self._made[node, peer].items():
            if offered[block_id] != n_keys:
                self._violated(
                    "K3",
                    f"{node} made {n_keys} keys with {peer} in block {block_id.hex()[:8]}; "
                    f"the store knows {offered[block_id]}",
                )
        for block_id in sorted(self._aborted[node, peer]):
            if offered[block_id]:
                self._violated("K11", f"{node} offers keys of block {block_id.hex()[:8]}: aborted")

    def _check_commits(self, one: str, other: str, ones: Books, others: Books) -> None:
        for block_id in {**ones.records, **others.records}:
            found = [books.records.get(block_id) for books in (ones, others)]
            low, high = (None if record is None else record.phase for record in found)
            if (low, high) not in TOGETHER:
                names = [phase.value if phase else "unknown" for phase in (low, high)]
                self._violated(
                    "K9",
                    f"block {block_id.hex()[:8]} is {names[0]} at {one} and {names[1]} at {other}",
                )

    def _check_said(self, node: str, peer: str, frame: Frame, message: Tagged) -> None:
        """Every tagged message says that something is durable; its own words are, too."""
        kind, block_id = type(message), message.block_id
        record = self._shelf.books(node, peer).records.get(block_id)
        if record is None or record.phase not in SAYS_IN[kind]:
            found = "unknown" if record is None else record.phase.value
            self._violated("K8", f"{node} says {kind.__name__}; its store has the block as {found}")
        elif kind is not Prepare and record.phase is SAYS_IN[kind][0] and record.said != frame.body:
            self._violated("K8", f"{node} says {kind.__name__}; its store knows other words")

    def _violated(self, number: str, what: str) -> None:
        text = f"{number}: {what}"
        if text not in self.violations:
            self.violations.append(text)


def _roles(pair: UserPair) -> tuple[tuple[Role, str, str], tuple[Role, str, str]]:
    return (Role.COORDINATOR, *pair), (Role.PARTICIPANT, *pair[::-1])
