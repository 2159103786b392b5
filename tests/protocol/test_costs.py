"""What the messages of a block cost, held against the least that they could.

`pytest -s tests/protocol/test_costs.py` prints the figures of docs/reference/measurements.md.
"""

import sys
from collections import Counter

import numpy as np
import pytest
import triangle
from triangle import Triangle

from mdiqkd_net.params import Setting, Source
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import decode

MOST = 1.3
"""Bytes over the entropy of what they say, headers and signatures included."""

PAIR = Source(  # of scenarios/pair.toml
    x=Setting(intensity=0.042, probability=0.300),
    y=Setting(intensity=0.172, probability=0.043),
    z=Setting(intensity=0.262, probability=0.570),
)


def entropy_bits(counts):
    """Of a sequence in which each value comes so often, in any order; in bits in all."""
    counts = np.array([n for n in counts if n], float)
    return float(-(counts * np.log2(counts / counts.sum())).sum())


class Meter:
    """Counts the bytes of frames, and what announcements and settings say."""

    def __init__(self):
        self.n_bytes = Counter()
        self.outcomes, self.settings = Counter(), Counter()

    def __call__(self, source, target, frame):
        self.n_bytes[source, target, frame.kind] += len(frame.raw)
        if target == "bob" and frame.kind == m.Announcement.TYPE:
            self.outcomes.update(bulk.unpack_bits(decode(frame).outcomes).tolist())
        if target == "bob" and frame.kind == m.Sift.TYPE:
            self.settings.update(bulk.unpack_ranked(decode(frame).settings).tolist())
        return frame

    @property
    def n_announced(self):
        return self.outcomes.total()


@pytest.mark.parametrize(
    ("name", "source", "transmittance", "n_pulses"),
    [
        ("of the tests, without loss", triangle.SOURCE, 0.7, 3_000_000),
        ("pair.toml, 25 + 25 km", PAIR, 10**-0.5, 60_000_000),
        ("the same over 50 + 50 km", PAIR, 10**-1.0, 400_000_000),
    ],
)
def test_announcements_and_settings_cost_little_more_than_their_entropy(
    monkeypatch, name, source, transmittance, n_pulses
):
    monkeypatch.setattr(triangle, "SOURCE", source)
    monkeypatch.setattr(triangle, "TRANSMITTANCE", transmittance)
    meter = Meter()
    Triangle(n_pulses, source=source, tamper=meter, segment_pulses=n_pulses // 3).run()
    n = meter.n_announced
    assert n > 2000
    announced_bits = entropy_bits([n, n_pulses - n]) + entropy_bits(meter.outcomes.values())
    settings_bits = entropy_bits(meter.settings.values())
    announcements = 8 * meter.n_bytes["charles", "bob", m.Announcement.TYPE]
    sifting = 8 * meter.n_bytes["alice", "bob", m.Sift.TYPE]
    sys.stdout.write(
        f"\n{name}: {n} events of {n_pulses:.1e} pulses; bytes for each, to one user: announcement "
        f"{announcements / 8 / n:.3f} ({announcements / announced_bits:.3f} of entropy), settings "
        f"{sifting / 8 / n:.3f} ({sifting / settings_bits:.3f} of entropy)\n"
    )
    assert 1.0 <= announcements / announced_bits < MOST
    assert 1.0 <= sifting / settings_bits < MOST


def test_what_is_not_announcement_setting_or_bit_is_small():
    """All that comes once for a block: opening, gates, verification, commit, credits."""
    meter = Meter()
    made = Triangle(40_000_000, tamper=meter).run()
    assert made.alice.keys
    bulky = (m.Announcement, m.Sift, m.EstimationBits, m.Reconcile, m.AmplifySeed)
    kinds = {kind.TYPE for kind in bulky}
    fixed = sum(n for (_, _, kind), n in meter.n_bytes.items() if kind not in kinds)
    secret_bits = made.alice.report("block.key")["secret_bits"]
    total = meter.n_bytes.total()
    sys.stdout.write(
        f"\na block of {meter.n_announced} events and {secret_bits} secret bits: {total} bytes, "
        f"{total / meter.n_announced:.2f} for each event, {total / secret_bits:.2f} for each "
        f"secret bit, {fixed} once for the block\n"
    )
    assert fixed < 6000
