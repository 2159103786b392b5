"""Two users of a scheme in one process: their keys, and their messages."""

import numpy as np

from mdiqkd_net.postprocessing.reconcile.cascade import Cascade

SEED = bytes(range(32))
FRAME = 2**16


def pair(n, qber, rng, hint=None, schedule=None, scheme=Cascade):
    alice = rng.integers(0, 2, n, dtype=np.uint8)
    errors = (rng.random(n) < qber).astype(np.uint8)
    seed = rng.bytes(32)
    both = [
        scheme(
            key,
            corrects=corrects,
            qber=qber if hint is None else hint,
            seed=seed,
            schedule=schedule,
        )
        for key, corrects in ((alice, False), (alice ^ errors, True))
    ]
    return alice, errors, *both


def run(a, b, after_round=None):
    """Run both sides to the end; returns all payloads of each side."""
    sent = [[a.start()], [b.start()]]
    while True:
        replies = a.receive(sent[1][-1]), b.receive(sent[0][-1])
        if after_round:
            after_round()
        if None in replies:
            assert replies == (None, None)
            assert a.done
            assert b.done
            return sent
        sent[0].append(replies[0])
        sent[1].append(replies[1])
