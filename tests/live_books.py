"""What the key stores and pad files of two users say, looked at while their nodes run.

`Books` remembers what it has seen, for what must never change.
"""

import os
import sqlite3
from contextlib import closing

import msgspec

from mdiqkd_net.keys import pad_layout
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import Phase

USERS = ("alice", "bob")


def other(user):
    return USERS[1 - USERS.index(user)]


class Books:
    """What the stores and pad files of both users must agree on, now and ever."""

    def __init__(self, site):
        self._site = site
        self._said = {}
        self._marks = {}
        self._forgotten = set()

    def phases(self):
        """Of every block, at both users: None where there is no record."""
        of = {user: self._rows(user) for user in USERS}
        ids = list(dict.fromkeys([*of["alice"], *of["bob"]]))
        return {
            block_id: tuple(of[u][block_id][0] if block_id in of[u] else None for u in USERS)
            for block_id in ids
        }

    def pads_put_back(self, user):
        """A user's pad file was replaced by an older one: what it says of the past is no longer."""
        self._marks = {key: mark for key, mark in self._marks.items() if key[1] != user}

    def new_pads(self):
        """Both users have new pads: what was said with the old ones says nothing of these."""
        self._marks, self._said = {}, {}

    def forgotten(self, blocks):
        """A store has lost what it knew of these blocks: their keys are no longer at both."""
        self._forgotten |= set(blocks)

    def known_blocks(self):
        return {block_id.hex() for block_id in self.phases()}

    def check(self, *, settled=False):
        """Nothing lost, doubled, or different; with `settled`, no block waits for anything."""
        self._check_pads()
        # Bob first: what the coordinator offers, the participant has committed before.
        rows = {user: self._rows(user) for user in ("alice", "bob")}
        rows["bob"] |= self._rows("bob")
        for block_id, (phase, bits, _) in rows["alice"].items():
            if block_id in self._forgotten:
                continue
            theirs, their_bits, _ = rows["bob"].get(block_id, (None, bits, b""))
            assert bits == their_bits
            if phase is Phase.CONFIRMED:
                assert theirs is Phase.COMMITTED
            if phase is Phase.ABORTED:
                assert theirs in (None, Phase.PREPARED, Phase.ABORTED)
            if settled:
                assert (phase, theirs) != (Phase.PREPARED, Phase.PREPARED)
                assert phase is not Phase.COMMITTED
        for user in USERS:
            for block_id, (_, _, said) in rows[user].items():
                self._check_said(user, block_id, said)
        prints = {}
        for user in USERS:
            if not self._site.store_path(user).exists():
                return
            with KeyStore.open(self._site.store_path(user), create=False) as store:
                assert all(row.balances for row in store.ledger())
                prints[user] = store.fingerprints(other(user), b"salt")
        both = set(prints["alice"]) & set(prints["bob"])
        assert all(prints["alice"][key] == prints["bob"][key] for key in both)
        if settled:
            assert prints["alice"] == prints["bob"]

    def _rows(self, user):
        path = self._site.store_path(user)
        if not path.exists():
            return {}
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return {}  # its process is just making it
            rows = connection.execute("SELECT block_id, phase, bits, said FROM blocks")
            return {block_id: (Phase(phase), *rest) for block_id, phase, *rest in rows}

    def _check_said(self, user, block_id, said):
        """A pad never speaks for two messages."""
        if said:
            pad = msgspec.msgpack.decode(said)["pad"]
            assert self._said.setdefault((user, pad), (block_id, said)) == (block_id, said)

    def _check_pads(self):
        """Burnt pads stay burnt, and none is burnt for sending beyond what the peer granted."""
        marks = {}
        for side, user in enumerate(USERS):
            path = self._site.pad_path(user)
            descriptor = os.open(path, os.O_RDONLY)
            try:
                header = pad_layout.read_header(descriptor, path)
                unused = pad_layout.find_unused(descriptor, path, header.n_pads, side)
                marks["sent", user] = pad_layout.first_unused(unused)
                received = pad_layout.find_unused(descriptor, path, header.n_pads, 1 - side)
                marks["received", user] = pad_layout.first_unused(received)
                marks["granted", user] = pad_layout.read_granted(descriptor, path, header)
            finally:
                os.close(descriptor)
            assert not unused[: marks["sent", user]].any()
        for key, mark in marks.items():
            assert mark >= self._marks.get(key, 0), key
        self._marks = marks
        for user in USERS:
            # Read one after the other while nodes run: the second one may be ahead.
            if not any(self._site.nodes[name].alive for name in USERS):
                assert marks["sent", user] <= marks["granted", other(user)]
                assert marks["received", other(user)] <= marks["sent", user]
