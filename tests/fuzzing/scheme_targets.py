"""The payloads of every scheme of reconciliation, at both users, from the table of schemes."""

import numpy as np
from fuzzing import mutate
from fuzzing.target import Target

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.postprocessing.reconcile import RECONCILERS


def _scheme(name, corrects):
    """One user's side, fed with payloads; a refusal must change nothing."""
    n, seed = 300, bytes(range(32))
    rng = np.random.default_rng(5)
    alice = rng.integers(0, 2, n, np.uint8)
    bob = alice ^ (rng.random(n) < 0.04).astype(np.uint8)
    kind = RECONCILERS[name]

    def new(key, corrects):
        return kind(key, corrects=corrects, qber=0.04, seed=seed)

    def payloads():
        """What an honest peer says to this side."""
        sides = new(alice, False), new(bob, True)
        said = [side.start() for side in sides]
        heard = []
        while None not in said:
            heard.append(said[0 if corrects else 1])
            said = [sides[0].receive(said[1]), sides[1].receive(said[0])]
        return heard

    honest = payloads()

    def make(rng):
        """How many honest payloads come first, and the hostile ones that follow."""
        after = rng.randrange(len(honest))
        near = honest[after]
        made = bytes([after])
        for _ in range(rng.randrange(1, 4)):
            size = rng.choice((len(near), len(near), len(near), rng.randrange(80)))
            last = rng.choice((near, mutate.by_bytes(near, rng), rng.randbytes(size)))
            made += bytes([len(last) & 0xFF]) + last[:255]
        return made

    def run(data):
        side = new(bob if corrects else alice, corrects)
        side.start()
        for payload in honest[: data[0] if data else 0]:
            if side.receive(payload) is None:
                return
        at = 1
        while at < len(data):
            payload = data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]
            before = side.rounds, side.leak_bits, side.n_corrected
            try:
                answer = side.receive(payload)
            except RemoteProtocolError:
                assert before == (side.rounds, side.leak_bits, side.n_corrected)
                raise
            assert side.leak_bits <= 8 * n
            if answer is None:
                assert side.bits.shape == (n,)
                return

    return Target(make, run, (RemoteProtocolError,), weight=40)


SCHEME_TARGETS = {
    f"{name}, {'corrects' if corrects else 'answers'}": _scheme(name, corrects)
    for name in RECONCILERS
    for corrects in (False, True)
}
