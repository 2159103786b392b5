"""How often `ldpc` decodes at once, asks for more, or fails: one row per error rate.

`python -m mdiqkd_net.postprocessing.reconcile.ldpc_statistics 0.02 0.05 --frames 2000` reconciles
single frames, each with errors of its own, and prints what became of them. With `--told 0.5 1 2`
there is a row for users who are told half, all and twice of the true rate.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile.ldpc import FRAME_BITS, Ldpc


class Statistics(NamedTuple):
    """What became of the frames.

    Attributes:
        frames: That were tried.
        at_once: That needed nothing beyond their syndrome.
        requests: Requests for checks or bits, of all frames together.
        most_requests: Of one frame.
        wrong: That were not equal at the end: the syndrome and the checksum fit another key.
        f: Leak over the Shannon limit of the errors that were there.
        cpu_s: CPU time of both users.
    """

    frames: int
    at_once: int
    requests: int
    most_requests: int
    wrong: int
    f: float
    cpu_s: float


def try_frames(
    qber: float, n_frames: int, *, seed: int, hint: float | None = None, n_bits: int = FRAME_BITS
) -> Statistics:
    """Reconcile frames one by one.

    Args:
        qber: Probability of an error.
        n_frames: How many.
        seed: Of keys and errors.
        hint: What the users are told; absent: `qber`.
        n_bits: Bits of a frame, at most `FRAME_BITS`.

    Raises:
        LocalProtocolError: No frame, or one that is too long.
    """
    if n_frames < 1 or not 1 <= n_bits <= FRAME_BITS:
        raise LocalProtocolError(
            f"frames: found {n_frames} of {n_bits} bits; "
            f"allowed: one or more of 1 to {FRAME_BITS} bits"
        )
    rng = np.random.default_rng(seed)
    told = qber if hint is None else hint
    requests = []
    wrong, leak, limit, cpu_s = 0, 0, 0.0, 0.0
    for _ in range(n_frames):
        key = rng.integers(0, 2, n_bits, dtype=np.uint8)
        errors = (rng.random(n_bits) < qber).astype(np.uint8)
        start_s = time.process_time()
        alice = Ldpc(key, corrects=False, qber=told, seed=bytes(32))
        bob = Ldpc(key ^ errors, corrects=True, qber=told, seed=bytes(32))
        to_bob, to_alice = alice.start(), bob.start()
        while True:
            by_alice, by_bob = alice.receive(to_alice), bob.receive(to_bob)
            if by_alice is None or by_bob is None:
                break
            to_bob, to_alice = by_alice, by_bob
        cpu_s += time.process_time() - start_s
        requests.append(alice.rounds // 2 - 1)
        wrong += not np.array_equal(bob.bits, key)
        leak += alice.leak_bits
        limit += n_bits * binary_entropy(float(errors.mean()))
    return Statistics(
        frames=n_frames,
        at_once=requests.count(0),
        requests=sum(requests),
        most_requests=max(requests),
        wrong=wrong,
        f=leak / limit,
        cpu_s=cpu_s,
    )


def main(argv: Sequence[str]) -> None:
    """Print a row for each error rate named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qber", type=float, nargs="+")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--told", type=float, nargs="+", default=[1.0], help="hint of the users over the truth"
    )
    args = parser.parse_args(argv)
    for qber, told in product(args.qber, args.told):
        found = try_frames(qber, args.frames, seed=args.seed, hint=told * qber)
        sys.stdout.write(
            f"{qber:g}: {f'told {told:g} of it, ' if told != 1.0 else ''}"
            f"f = {found.f:.4f}, {found.at_once} of {found.frames} frames at once, "
            f"{found.requests} requests, at most {found.most_requests} for a frame, "
            f"{found.wrong} wrong, "
            f"{found.frames * FRAME_BITS / found.cpu_s / 1e6:.1f} Mbit/s\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
