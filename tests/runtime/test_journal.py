"""What a pair makes durable, step by step, with the crash points around it."""

import pytest

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import CommitRecord, Phase
from mdiqkd_net.protocol.effects import Hold, Settle
from mdiqkd_net.protocol.states import Role
from mdiqkd_net.runtime.journal import Journal
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.secret import SecretBuffer

BLOCK = bytes(range(16))
ROLES = {"alice": Role.COORDINATOR, "bob": Role.PARTICIPANT}


@pytest.mark.parametrize("node", ["alice", "bob"])
async def test_words_that_are_not_known_any_more_are_added_in_every_phase(tmp_path, pads, node):
    """As after pads were replaced, or with a store of an older release."""
    peer = "bob" if node == "alice" else "alice"
    phases = [Phase.PREPARED, Phase.COMMITTED]
    phases += [Phase.CONFIRMED] if node == "alice" else []
    points = []
    with KeyStore.open(tmp_path / "store") as store, PadFile.open(pads[node], node, peer) as file:
        world = RealWorld(crash=points.append)
        journal = Journal(node, peer, store=store, pads=file, frozen=tmp_path, world=world)
        record = CommitRecord(BLOCK, ROLES[node], Phase.PREPARED, 512)
        key = SecretKey(BLOCK, 512, "simulated", SecretBuffer.copy_of(bytes(64)))
        await journal.write(
            Hold(key, users=("alice", "bob"), block=1, eps=0.1, leak_model="none", record=record)
        )
        assert journal.n_keys == 2
        for phase in phases:
            await journal.write(Settle(BLOCK, phase, b""))
            await journal.write(Settle(BLOCK, phase, phase.value.encode()))
            found = store.record(BLOCK)
            assert (found.phase, found.said) == (phase, phase.value.encode())
    steps = {Phase.PREPARED: "hold", Phase.COMMITTED: "commit", Phase.CONFIRMED: "confirm"}
    around = [f"{steps[phase]}.{when}" for phase in phases for when in 2 * ("before", "after")]
    assert points == ["hold.before", "hold.after", *around]
