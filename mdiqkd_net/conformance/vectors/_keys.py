"""Privacy amplification, and known answers of reconciliation."""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.conformance.vectors._cases import Cases, known, lots, octets
from mdiqkd_net.postprocessing.amplify import amplify
from mdiqkd_net.postprocessing.reconcile import RECONCILERS

_PA_INPUTS: Final = (
    "key of n_in bits and seed of n_in - 1 bits, packed, first bit in the high bit of the first "
    "byte; expected.hex: the n_out bits of the secret key, packed alike."
)
_EC_INPUTS: Final = (
    "scheme, qber in 1e-9 and seed as in ReconcileStart; alice and bob: keys of n bits, first bit "
    "in the high bit of the first byte. expected: the number of payloads of each user, SHA-256 of "
    "each user's payloads, each behind its length as u32 little-endian, leak_bits that Alice "
    "disclosed, and the number of errors that were corrected. Bob ends with Alice's key."
)


def pa_toeplitz() -> Cases:
    """Small hashes, every length around bytes and words."""
    cases = Cases("pa_toeplitz", "Privacy amplification", _PA_INPUTS, ("6.7",))
    for n_in, n_out in (
        (2, 1), (3, 1), (3, 2), (8, 7), (9, 8), (17, 9), (33, 32), (64, 32), (65, 64), (129, 1),
        (129, 128), (250, 100), (1000, 333), (2000, 1999), (2500, 64),
    ):  # fmt: skip
        key, seed = _bits(f"key {n_in}", n_in), _bits(f"seed {n_in} {n_out}", n_in - 1)
        packed = np.packbits(seed).tobytes()
        given = {"n_in": n_in, "n_out": n_out, "key": _packed(key), "seed": octets(packed)}
        out = amplify(key, packed, n_out)
        cases.add(f"{n_in} to {n_out} bits", given, known({"hex": out.view.hex()}))
    for comment, key, seed in (
        ("a key of zeros", np.zeros(200, np.uint8), _bits("seed", 199)),
        ("a key and a seed of ones", np.ones(200, np.uint8), np.ones(199, np.uint8)),
    ):
        packed = np.packbits(seed).tobytes()
        given = {"n_in": 200, "n_out": 77, "key": _packed(key), "seed": octets(packed)}
        out = amplify(key, packed, 77)
        cases.add(comment, given, known({"hex": out.view.hex()}))
    return cases


def reconcile() -> Cases:
    """Known answers of every scheme. Payloads are a scheme's own; these fix them."""
    cases = Cases("reconcile", "Transcripts of reconciliation", _EC_INPUTS, ("6.5",))
    for scheme in RECONCILERS:
        for n, qber in ((1, 0.0), (100, 0.05), (5000, 0.02), (20_000, 0.03)):
            alice = _bits(f"alice {n}", n)
            draws = np.frombuffer(lots(f"errors {n}", 4 * n), "<u4").astype(np.float64) / 2**32
            bob = alice ^ (draws < qber).astype(np.uint8)
            seed = lots(f"public {n}", 32)
            given = {
                "scheme": scheme,
                "n": n,
                "qber": str(round(qber * 1e9)),
                "seed": octets(seed),
                "alice": _packed(alice),
                "bob": _packed(bob),
            }
            expected = _transcript(scheme, alice, bob, qber, seed)
            comment = f"{scheme}: {n} bits at {qber}"
            cases.add(comment, given, known(expected), flags=("known answer",))
    return cases


def _transcript(
    scheme: str, alice: NDArray[np.uint8], bob: NDArray[np.uint8], qber: float, seed: bytes
) -> dict[str, Any]:
    ours = RECONCILERS[scheme](alice, corrects=False, qber=qber, seed=seed)
    theirs = RECONCILERS[scheme](bob, corrects=True, qber=qber, seed=seed)
    hashes = (hashlib.sha256(), hashlib.sha256())
    payloads: tuple[bytes | None, bytes | None] = ours.start(), theirs.start()
    n_payloads = 0
    while payloads[0] is not None and payloads[1] is not None:
        n_payloads += 1
        for digest, payload in zip(hashes, payloads, strict=True):
            assert payload is not None  # noqa: S101  # by the loop
            digest.update(len(payload).to_bytes(4, "little") + payload)
        payloads = ours.receive(payloads[1]), theirs.receive(payloads[0])
    if not np.array_equal(theirs.bits, alice):
        raise ValueError(f"{scheme}: errors are left; choose another case")
    return {
        "payloads": n_payloads,
        "alice_sha256": hashes[0].hexdigest(),
        "bob_sha256": hashes[1].hexdigest(),
        "leak_bits": ours.leak_bits,
        "corrected": theirs.n_corrected,
    }


def _bits(label: str, n: int) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(lots(label, -(-n // 8)), np.uint8), count=n)


def _packed(bits: NDArray[np.uint8]) -> Any:
    return octets(np.packbits(bits).tobytes())
