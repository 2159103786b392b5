"""Reconciliation of made-up keys, by the code that runs in a session."""

import statistics
from collections import deque
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import ProtocolError
from mdiqkd_net.laboratory.postprocessing.timing import cpu_s, peak_bytes, per_s
from mdiqkd_net.postprocessing.leak import efficiency
from mdiqkd_net.protocol.reconciling import KeyReconciliation
from mdiqkd_net.units import to_nano
from mdiqkd_net.wire.messages import Message, Reconcile, ReconcileStart

FRAME_BITS: Final = 1 << 16
"""Failures are counted in frames of as many bits, whatever the frames of a scheme are."""

ALICE: Final = 0
BOB: Final = 1
USERS: Final = (ALICE, BOB)

Key = NDArray[np.uint8]
Users = tuple[KeyReconciliation, KeyReconciliation]
Heard = tuple[list[Message], list[Message]]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Of some keys by one scheme at one QBER.

    Attributes:
        scheme: A name in `RECONCILERS`.
        qber: Chance of an error in each bit; both users are told.
        n_bits: Of each key.
        n_keys: That were reconciled.
        n_errors: In all keys.
        leak_bits: That Alice has sent about all keys.
        answer_bits: That Bob has sent.
        rounds: Payloads that a user has taken, for each key.
        n_frames: Of 2^16 bits, the last one of a key shorter.
        failed_frames: With a bit left unequal.
        failed_keys: With a bit left unequal.
        both_cpu_s: Of both users, who take turns in one thread; median over the keys.
        alice_cpu_s: Of Alice, with Bob's messages at hand; median over the keys.
        bob_cpu_s: The same of Bob.
        first_cpu_s: Of both and one key more, the first one, which is not counted: a scheme may
            prepare then what it keeps.
        peak_bytes: Of the user who takes more, besides the sifted key.
        refusal: Why there is nothing of the above, if the scheme has refused.
    """

    scheme: str
    qber: float
    n_bits: int
    n_keys: int
    n_errors: int = 0
    leak_bits: int = 0
    answer_bits: int = 0
    rounds: tuple[int, ...] = ()
    n_frames: int = 0
    failed_frames: int = 0
    failed_keys: int = 0
    both_cpu_s: float = 0.0
    alice_cpu_s: float = 0.0
    bob_cpu_s: float = 0.0
    first_cpu_s: float = 0.0
    peak_bytes: int = 0
    refusal: str = ""

    @property
    def f(self) -> float | None:
        """Leak over n h(errors / n); None without errors."""
        n_bits = self.n_bits * self.n_keys
        return efficiency(self.leak_bits, n_bits, self.n_errors / n_bits) if self.n_errors else None

    def as_dict(self) -> dict[str, Any]:
        """Fields, f, and bits per second of CPU time."""
        return asdict(self) | {
            "f": self.f,
            "both_bits_per_s": per_s(self.n_bits, self.both_cpu_s),
            "alice_bits_per_s": per_s(self.n_bits, self.alice_cpu_s),
            "bob_bits_per_s": per_s(self.n_bits, self.bob_cpu_s),
        }


@dataclass(frozen=True, slots=True)
class Task:
    """Two sifted keys that shall become equal.

    The same task takes the same messages each time it is done, for its seed stands for the
    coordinator's entropy.
    """

    alice: Key
    bob: Key
    scheme: str
    qber: float
    seed: int

    def together(self) -> tuple[Users, Heard]:
        """Both users in one thread, done, and what each has heard from the other.

        Raises:
            ProtocolError: The scheme refuses, or its users end in different rounds.
        """
        users = self._user(ALICE), self._user(BOB)
        heard: Heard = ([], [])
        post = deque((BOB, message) for message in users[ALICE].start())
        while post:
            to, message = post.popleft()
            heard[to].append(message)
            post.extend((1 - to, reply) for reply in _step(users[to], message))
        return users, heard

    def alone(self, user: int, heard: list[Message]) -> None:
        """One user, with what comes from the other at hand."""
        core = self._user(user)
        if user == ALICE:
            core.start()
        for message in heard:
            _step(core, message)

    def _user(self, user: int) -> KeyReconciliation:
        return KeyReconciliation(
            (self.alice, self.bob)[user],
            corrects=user == BOB,
            reconciler=self.scheme,
            qber=self.qber,
            entropy=np.random.default_rng(self.seed).bytes,
        )


def sifted_keys(n_bits: int, qber: float, seed: int, number: int = 0) -> tuple[Key, Key]:
    """Alice's random key and Bob's, each bit of which is wrong with probability `qber`.

    Shapes: both (n_bits,), 0 or 1. The same arguments give the same keys.
    """
    rng = np.random.default_rng((seed, number, to_nano(qber), n_bits))
    packed = np.frombuffer(rng.bytes(-(-n_bits // 8)), np.uint8)
    alice = np.unpackbits(packed, count=n_bits)
    return alice, alice ^ (rng.random(n_bits) < qber).astype(np.uint8)


def measure_reconciliation(
    scheme: str, qber: float, n_bits: int, *, n_keys: int, seed: int
) -> Reconciliation:
    """Reconcile some keys; all but time and memory follows from the seed."""
    try:
        return _measured(scheme, qber, n_bits, n_keys, seed)
    except ProtocolError as error:
        return Reconciliation(scheme, qber, n_bits, n_keys, refusal=str(error))


def _measured(scheme: str, qber: float, n_bits: int, n_keys: int, seed: int) -> Reconciliation:
    task = Task(*sifted_keys(n_bits, qber, seed), scheme, qber, seed)
    (_, heard), first_cpu_s = cpu_s(task.together)
    peak = max(peak_bytes(partial(task.alone, user, heard[user])) for user in USERS)
    both_s: list[float] = []
    alone_s: tuple[list[float], list[float]] = ([], [])
    rounds: list[int] = []
    failed: list[int] = []
    n_errors = leak_bits = answer_bits = 0
    starts = np.arange(0, n_bits, FRAME_BITS)
    for number in range(n_keys):
        task = Task(*sifted_keys(n_bits, qber, seed, number), scheme, qber, seed)
        (((alice, bob), heard), seconds) = cpu_s(task.together)
        both_s.append(seconds)
        # Two looks at the clock in each of some thousand rounds would cost as much as the rounds.
        for user in USERS:
            alone_s[user].append(cpu_s(partial(task.alone, user, heard[user]))[1])
        rounds.append(alice.n_rounds)
        n_errors += int(np.count_nonzero(task.alice ^ task.bob))
        leak_bits += alice.ledger.parity_bits
        answer_bits += alice.ledger.answer_bits
        unequal = np.add.reduceat(alice.bits ^ bob.bits, starts, dtype=np.int64)
        failed.append(int(np.count_nonzero(unequal)))
    return Reconciliation(
        scheme=scheme,
        qber=qber,
        n_bits=n_bits,
        n_keys=n_keys,
        n_errors=n_errors,
        leak_bits=leak_bits,
        answer_bits=answer_bits,
        rounds=tuple(rounds),
        n_frames=n_keys * starts.size,
        failed_frames=sum(failed),
        failed_keys=sum(frames > 0 for frames in failed),
        both_cpu_s=statistics.median(both_s),
        alice_cpu_s=statistics.median(alone_s[ALICE]),
        bob_cpu_s=statistics.median(alone_s[BOB]),
        first_cpu_s=first_cpu_s,
        peak_bytes=peak,
    )


def _step(core: KeyReconciliation, message: Message) -> list[Message]:
    if isinstance(message, ReconcileStart):
        return core.started(message)
    assert isinstance(message, Reconcile)  # noqa: S101  # there is no third kind
    return core.step(message)
