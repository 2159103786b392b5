"""Hostile relays against the real shells, in simulated time: what cores alone cannot show."""

from functools import partial

import pytest
import trio
from msgspec.structs import replace

from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.protocol import credit
from mdiqkd_net.runtime import pair
from mdiqkd_net.simulation import scheduling
from mdiqkd_net.simulation.network import PATIENCE_S, Network

SPOILED = 2


class HostileNetwork(Network):
    """Charles spoils the first sessions, and behaves from then on."""

    def __init__(self, relay, directory):
        super().__init__(2, (), directory)
        self.relay = relay
        self._blocks = 0
        self.events = []
        self._enough = trio.Event()

    async def run(self, time_s=150.0):
        async with trio.open_nursery() as nursery:
            for name in self.names:
                nursery.start_soon(self._keep, name)
            with trio.move_on_after(time_s):
                await self._enough.wait()
            nursery.cancel_scope.cancel()
        self.watch.check_stores()

    def _relay_config(self):
        return replace(
            super()._relay_config(), relay=self.relay, byzantine=Extent(sessions=SPOILED)
        )

    def heard(self, node, event, fields):
        super().heard(node, event, fields)
        self.events.append((trio.current_time(), node, event, dict(fields)))
        if self.keys >= 2 * len(self.pairs):
            self._enough.set()

    def of(self, event):
        return [(t, node, fields) for t, node, name, fields in self.events if name == event]


def run(relay, directory):
    async def main():
        network = HostileNetwork(relay, directory)
        await network.run()
        return network

    return scheduling.run(1, main)


@pytest.mark.parametrize(
    ("name", "event", "reason"),
    [
        ("withhold", "block.aborted", f"has said anything for {PATIENCE_S:g} s"),
        ("withhold_from_one", "block.aborted", f"has said anything for {PATIENCE_S:g} s"),
        ("slow_loris", "link.down", "is too slow"),
        ("overdraw", "relay.violation", "wait to be taken in"),
        ("skip_batch", "relay.violation", "announcement: found batch"),
        ("start_anew", "block.aborted", "the relay started anew"),
        ("other_parameters", "block.aborted", "another session"),
    ],
)
def test_a_relay_that_behaves_again_serves_again(name, event, reason, tmp_path, monkeypatch):
    """No pair is lost to a relay that spoils two blocks, and the operator is told why."""
    monkeypatch.setattr(pair, "Unread", partial(credit.Unread, 1 << 16))  # blocks are small
    network = run("byzantine:" + name, tmp_path)
    assert network.watch.violations == []
    assert network.keys == 2 * len(network.pairs)
    assert not network.of("pair.failed")
    assert reason in " ".join(str(fields.get("reason")) for _, _, fields in network.of(event))
    ended = [len([1 for _, n, _ in network.of("block.aborted") if n == u]) for u in network.users]
    assert max(ended) == SPOILED
    ends = {}
    for _, node, fields in network.of("block.monitors"):
        ends[node] = fields["figures"]["MON-09"]["ends"]
    # Who finds it first tells the other one, for whom it is the peer that ended the block.
    assert sum(counts.get("relay", 0) for counts in ends.values()) >= SPOILED


@pytest.mark.parametrize("name", ["late", "flap"])
def test_past_the_close_and_over_new_links_no_block_is_lost(name, tmp_path):
    network = run("byzantine:" + name, tmp_path)
    assert network.watch.violations == []
    assert network.keys == 2 * len(network.pairs)
    assert not network.of("block.aborted")
    assert len(network.of("link.down")) > 1
