"""Groups of bits that are verified one by one, and disclosed where they are wrong."""

import numpy as np
import pytest
from triangle import Triangle, rewritten

from mdiqkd_net.protocol import verifying
from mdiqkd_net.protocol.reconciling import KeyReconciliation
from mdiqkd_net.wire import messages as m

N_PULSES = 40_000_000


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(verifying, "GROUP_BITS", 10_000)


def break_bits(monkeypatch, places):
    """Reconciliation that misses errors at `places`: the participant's key keeps them."""
    honest = KeyReconciliation.bits.fget

    def bits(self):
        key = honest(self)
        if self._corrects:
            key[places] ^= 1
        return key

    monkeypatch.setattr(KeyReconciliation, "bits", property(bits))


def kinds(triangle):
    return [kind for source, target, kind in triangle.trace if "charles" not in (source, target)]


def test_groups_that_agree_cost_their_tags(small_groups):
    triangle = Triangle(N_PULSES).run()
    assert triangle.alice.keys == triangle.bob.keys != {}
    assert kinds(triangle).count(m.VerifyGroups.TYPE) == 1
    assert kinds(triangle).count(m.Disclose.TYPE) == 0


def test_a_wrong_group_is_disclosed_and_the_block_lives(small_groups, monkeypatch):
    honest = Triangle(N_PULSES).run()
    break_bits(monkeypatch, [3, 5])
    triangle = Triangle(N_PULSES).run()
    assert kinds(triangle).count(m.Disclose.TYPE) == 1
    whole, less = (t.alice.report("block.key") for t in (honest, triangle))
    assert triangle.alice.keys == triangle.bob.keys
    # Bob's true errors are counted; his misses were made up by this test.
    assert triangle.bob.report("block.key")["qber_z"] == whole["qber_z"] == less["qber_z"]
    # All bits of the group are charged, one by one, on top of what the honest block pays.
    assert whole["secret_bits"] - less["secret_bits"] == 10_000


def test_a_key_of_one_group_has_one_tag_and_dies_with_it(monkeypatch):
    break_bits(monkeypatch, [3])
    triangle = Triangle(N_PULSES).run()
    assert kinds(triangle).count(m.VerifyGroups.TYPE) == 0
    assert "keys differ" in triangle.alice.report("block.aborted")["reason"]


@pytest.mark.parametrize(
    ("speaker", "kind", "fields", "words"),
    [
        ("alice", m.VerifyGroups, {"digests": bytes(16)}, "tags of groups: found 16 bytes"),
        ("bob", m.GroupsVerified, {"wrong": [99]}, "wrong groups: found"),
        ("bob", m.GroupsVerified, {"wrong": [1, 0]}, "wrong groups: found"),
        ("alice", m.Disclose, {"group": 1}, "disclosed: found group 1; it was not wrong"),
        (
            "alice",
            m.Disclose,
            {"bits": m.Bulk(n=8, t="b1", v=b"\0")},
            "disclosed: found 8 bits; allowed: 10000",
        ),
    ],
)
def test_what_is_said_of_groups_must_fit(small_groups, monkeypatch, speaker, kind, fields, words):
    break_bits(monkeypatch, [3])

    def tamper(source, _target, frame):
        if (source, frame.kind) == (speaker, kind.TYPE):
            return rewritten(frame, **fields)
        return frame

    triangle = Triangle(N_PULSES, tamper=tamper).run()
    victim = triangle.bob if speaker == "alice" else triangle.alice
    assert words in str(victim.error)
    assert not triangle.alice.keys | triangle.bob.keys


def test_tags_of_groups_are_refused_where_there_are_no_groups():
    context = type("Context", (), {"key_bits": np.zeros(8, np.uint8), "wrong_groups": None})()
    with pytest.raises(verifying.RemoteProtocolError, match="tags of groups: found some"):
        verifying.on_verify_groups(context, m.VerifyGroups(digests=b"", hash_key=bytes(16)))
