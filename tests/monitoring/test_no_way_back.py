"""A monitor never changes a key, or its length: nothing leads from an alarm to a block."""

import ast
from pathlib import Path

import msgspec
from triangle import Triangle

import mdiqkd_net
from mdiqkd_net.monitoring.history import Commissioned
from mdiqkd_net.monitoring.watch import Watch
from mdiqkd_net.protocol import effects as fx

PACKAGE = Path(mdiqkd_net.__file__).parent
MAY_ASK = {"monitoring", "runtime"}
"""Who may import what a watch finds."""


class Watched(Triangle):
    """Every block is looked at, and `cry` decides what is made of it."""

    def __init__(self, *args, cry, **options):
        super().__init__(*args, **options)
        self.watches = {name: Watch(Commissioned(visibility=0.5)) for name in self.users}
        self.found = {name: [] for name in self.users}
        self.cry = cry

    def _perform(self, user, effects):
        for effect in effects:
            if isinstance(effect, fx.Observe) and self.cry:
                found = self.watches[user.name].observe(effect.block, 1.0)
                self.found[user.name].append(found)
            super()._perform(user, [effect])


def test_the_same_seeds_give_the_same_key_with_all_monitors_crying(monkeypatch):
    silent = Watched(40_000_000, cry=False).run()
    # The limits turned so that every rule alarms over every block.
    from mdiqkd_net.monitoring import rules, watch

    monkeypatch.setattr(rules, "FALSE_ALARM", 8.0)
    monkeypatch.setattr(rules, "RATE_Z", -1.0)
    monkeypatch.setattr(watch, "RELAY_ENDS", -1)
    crying = Watched(40_000_000, cry=True).run()
    for name in ("alice", "bob"):
        assert len(crying.found[name]) == 1
        alarms = {alarm.monitor for found in crying.found[name] for alarm in found.alarms}
        assert alarms >= {"MON-01", "MON-02", "MON-03", "MON-05", "MON-07", "MON-10"}
    assert silent.alice.keys == silent.bob.keys == crying.alice.keys == crying.bob.keys
    assert len(silent.alice.keys) == 1
    assert silent.alice.report("block.key") == crying.alice.report("block.key")


def test_what_is_observed_is_public_and_the_same_at_both_users():
    class Kept(Watched):
        def __init__(self):
            super().__init__(40_000_000, segment_pulses=15_000_000, cry=False)
            self.blocks = {}

        def _perform(self, user, effects):
            for effect in effects:
                if isinstance(effect, fx.Observe):
                    self.blocks[user.name] = effect.block
            super()._perform(user, effects)

    triangle = Kept().run()
    alice, bob = triangle.blocks["alice"], triangle.blocks["bob"]
    assert alice.end == bob.end == "key"
    assert alice.announced.pulses.tolist() == bob.announced.pulses.tolist()
    assert alice.announced.pulses.max() < 40_000_000
    for ours, theirs in zip(alice.announced.settings, bob.announced.settings, strict=True):
        assert ours.tolist() == theirs.tolist()
    assert alice.announced.test_wrong.tolist() == bob.announced.test_wrong.tolist()
    assert (alice.n_key, alice.m_key) == (bob.n_key, bob.m_key)
    assert alice.covered.tolist() == bob.covered.tolist()
    assert alice.covered[-1] == 40_000_000
    report = triangle.alice.report("block.key")
    assert alice.n_key == report["n"]["zz"]
    assert int(alice.announced.test_wrong.sum()) == sum(
        report["m"][c] for c in ("xx", "xy", "yx", "yy")
    )
    assert msgspec.json.encode(Watch().observe(alice, 0.0).figures)


def test_nothing_that_makes_keys_knows_what_a_watch_finds():
    """Only the shell imports the watch and its rules; the cores know `public` alone."""
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0]
        if part in MAY_ASK or part == "scenario":
            continue
        names = {
            node.module
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mdiqkd_net.mon")
        }
        assert names <= {"mdiqkd_net.monitoring.public"}, path
