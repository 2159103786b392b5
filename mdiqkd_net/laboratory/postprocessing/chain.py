"""From two sifted keys to one secret key: reconcile, verify, amplify."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from mdiqkd_net.errors import LocalProtocolError, ProtocolError
from mdiqkd_net.laboratory.postprocessing.reconciling import (
    ALICE,
    BOB,
    USERS,
    Key,
    Task,
    sifted_keys,
)
from mdiqkd_net.laboratory.postprocessing.timing import cpu_s, peak_bytes, per_s
from mdiqkd_net.postprocessing.amplify import amplify, seed_bits
from mdiqkd_net.postprocessing.leak import efficiency
from mdiqkd_net.postprocessing.verify import (
    R_BYTES,
    VerificationError,
    check_verification,
    verification_tag,
)
from mdiqkd_net.protocol.verifying import GROUP_BITS

RATIO: Final = 0.5
"""Length of the secret key over that of the sifted one."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Of one key, by CPU time; the run whose time is the median of three.

    Attributes:
        scheme: A name in `RECONCILERS`.
        qber: Chance of an error in each bit; both users are told.
        n_bits: Of the sifted key.
        n_out: Of the secret key.
        n_errors: In the sifted key.
        leak_bits: Parities that Alice has sent.
        n_rounds: Payloads that a user has taken, of all chunks.
        n_wrong_groups: That verification has found; Bob takes over Alice's bits, as in a session.
        reconcile_s: Of both users, who take turns in one thread.
        verify_s: Of both users: a tag for each group, and one for the whole.
        amplify_s: Of both users.
        alice_cpu_s: All stages of Alice, with Bob's messages at hand.
        bob_cpu_s: The same of Bob.
        peak_bytes: Of both users together, besides the sifted keys.
        refusal: Why there is nothing of the above, if the scheme has refused.
    """

    scheme: str
    qber: float
    n_bits: int
    n_out: int
    n_errors: int = 0
    leak_bits: int = 0
    n_rounds: int = 0
    n_wrong_groups: int = 0
    reconcile_s: float = 0.0
    verify_s: float = 0.0
    amplify_s: float = 0.0
    alice_cpu_s: float = 0.0
    bob_cpu_s: float = 0.0
    peak_bytes: int = 0
    refusal: str = ""

    @property
    def f(self) -> float | None:
        """Leak over n h(errors / n); None without errors."""
        if not self.n_errors:
            return None
        return efficiency(self.leak_bits, self.n_bits, self.n_errors / self.n_bits)

    @property
    def both_cpu_s(self) -> float:
        """All stages of both users in one thread."""
        return self.reconcile_s + self.verify_s + self.amplify_s

    def as_dict(self) -> dict[str, Any]:
        """Fields, f (parities alone), and bits per second of CPU time."""
        return asdict(self) | {
            "f": self.f,
            "both_bits_per_s": per_s(self.n_bits, self.both_cpu_s),
            "alice_bits_per_s": per_s(self.n_bits, self.alice_cpu_s),
            "bob_bits_per_s": per_s(self.n_bits, self.bob_cpu_s),
        }


def measure_chain(scheme: str, qber: float, n_bits: int, *, seed: int) -> Chain:
    """Make the same secret key three times for the median time, and once more for the memory."""
    task = Task(*sifted_keys(n_bits, qber, seed), scheme, qber, seed)
    try:
        runs = sorted((make_key(task) for _ in range(3)), key=lambda run: run.both_cpu_s)
        return replace(runs[1], peak_bytes=peak_bytes(partial(make_key, task)))
    except ProtocolError as error:
        return Chain(scheme, qber, n_bits, _n_out(n_bits), refusal=str(error))


def make_key(task: Task) -> Chain:
    """All stages once; what they take of memory is left open.

    Raises:
        ProtocolError: The scheme refuses, or the keys differ in the end.
    """
    n_bits = task.alice.size
    n_out = _n_out(n_bits)
    public = np.random.default_rng(task.seed).bytes
    (users, heard), reconcile_s = cpu_s(task.together)
    alone_s = [cpu_s(partial(task.alone, user, heard[user]))[1] for user in USERS]
    keys = users[ALICE].bits, users[BOB].bits
    r = public(R_BYTES)
    tags, alice_verify_s = cpu_s(partial(_tags, keys[ALICE], r))
    n_wrong, bob_verify_s = cpu_s(partial(_compare, keys[BOB], r, tags, keys[ALICE]))
    toeplitz = public(-(-seed_bits(n_bits, n_out) // 8))
    made = [cpu_s(partial(amplify, key, toeplitz, n_out)) for key in keys]
    if made[ALICE][0] != made[BOB][0]:
        raise LocalProtocolError("secret keys: found two that differ; allowed: equal ones")
    verify_s, amplify_s = (alice_verify_s, bob_verify_s), [seconds for _, seconds in made]
    return Chain(
        scheme=task.scheme,
        qber=task.qber,
        n_bits=n_bits,
        n_out=n_out,
        n_errors=int(np.count_nonzero(task.alice ^ task.bob)),
        leak_bits=users[ALICE].ledger.parity_bits,
        n_rounds=users[ALICE].n_rounds,
        n_wrong_groups=n_wrong,
        reconcile_s=reconcile_s,
        verify_s=sum(verify_s),
        amplify_s=sum(amplify_s),
        alice_cpu_s=alone_s[ALICE] + verify_s[ALICE] + amplify_s[ALICE],
        bob_cpu_s=alone_s[BOB] + verify_s[BOB] + amplify_s[BOB],
    )


def _n_out(n_bits: int) -> int:
    return int(n_bits * RATIO)


def _groups(key: Key) -> list[Key]:
    """Views of it; the last one is the whole."""
    return [*(key[i : i + GROUP_BITS] for i in range(0, key.size, GROUP_BITS)), key]


def _tags(key: Key, r: bytes) -> list[bytes]:
    return [verification_tag(group, r) for group in _groups(key)]


def _compare(key: Key, r: bytes, tags: list[bytes], right: Key) -> int:
    """Number of groups that differ, and are put right."""
    n_wrong = 0
    *groups, whole = zip(_groups(key), tags, _groups(right), strict=True)
    for group, tag, disclosed in groups:
        try:
            check_verification(group, r, tag)
        except VerificationError:
            group[:] = disclosed
            n_wrong += 1
    check_verification(whole[0], r, whole[1])
    return n_wrong
