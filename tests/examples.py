"""One example of every message, for tests of the codec and of the tables."""

import numpy as np

from mdiqkd_net.wire import bulk
from mdiqkd_net.wire import messages as m

BOUNDS = m.DeclaredBounds(
    intensity_correlation=0,
    phase_nonuniformity=7,
    relative=[8, 9, 10],
    trojan_photons=0,
    vacuum_intensity=0,
    vacuum_light="any",
)
SOURCE = m.SourceSettings(bounds=BOUNDS, intensities=[1, 2, 3], probabilities=[4, 5, 6])
EXAMPLES = [
    m.Hello(impl="x 1", node="alice", nonce=bytes(32), role="endpoint", versions=[1]),
    m.Error(code=0x0301),
    m.PairRequest(n_pulses=10**12, peer="bob"),
    m.PairReady(
        n_pulses=10**12,
        pulse_rate_hz=10**9,
        relay_key=bytes(32),
        segment_pulses=10**9,
        session=bytes(16),
        users=["alice", "bob"],
    ),
    m.PairArmed(session=bytes(16)),
    m.PairAborted(code=0x0503, session=bytes(16)),
    m.Announcement(
        base=0,
        batch=0,
        covered=100,
        outcomes=bulk.pack_bits(np.array([0, 1], np.uint8)),
        pulses=bulk.pack_gaps(np.array([3, 50]), 0),
        segment=0,
        signature=bytes(64),
    ),
    m.AnnouncementsClosed(batches=1, count=2, signature=bytes(64)),
    m.BlockOpen(
        accounting="variable",
        bell_states=["psi_minus"],
        block=1,
        design=bytes(32),
        eps_cor=1,
        eps_sec=2,
        f_ec=3,
        method="certificate",
        reconciler="cascade",
        session_digest=bytes(32),
        source=SOURCE,
        tail="chernoff",
    ),
    m.BlockOpened(block=1, session_digest=bytes(32), source=SOURCE),
    m.Gate(batches=1, count=2, digest=bytes(16), hash_key=bytes(32)),
    m.Sift(chunk=0, settings=bulk.pack_pairs(np.array([3, 0, 1], np.uint8))),
    m.SiftDone(count=3, nonce=bytes(16)),
    m.EstimationBits(bits=bulk.pack_bits(np.array([1], np.uint8)), chunk=0, last=True),
    m.ReconcileStart(bits=100, chunk=0, qber=15_000_000, scheme="ldpc", seed=bytes(32)),
    m.Reconcile(chunk=0, payload=b"abc", round=4),
    m.VerifyGroups(digests=bytes(32), hash_key=bytes(16)),
    m.GroupsVerified(wrong=[1]),
    m.Disclose(bits=bulk.pack_bits(np.array([1], np.uint8)), group=1),
    m.Verify(bits=100, digest=bytes(16), hash_key=bytes(16)),
    m.Verified(corrected=2, ok=True),
    m.AmplifySeed(bits=50, part=0, parts=1, seed=b"seed"),
    m.Prepare(block_id=bytes(16), bits=50, pad=0, tag=bytes(16)),
    m.Vote(pad=0, tag=bytes(16)),
    m.Commit(pad=1, tag=bytes(16)),
    m.Committed(pad=1, tag=bytes(16)),
    m.BlockAborted(code=0x0501),
    m.LightArm(session=bytes(16), source=SOURCE),
    m.LightAsk(base=0, gaps=bulk.pack_unsigned(np.array([7])), segment=0, session=bytes(16)),
    m.Light(session=bytes(16), states=bulk.Bulk(n=1, t="u8", v=b"\5")),
]
