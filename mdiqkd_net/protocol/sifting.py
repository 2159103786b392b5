"""Sifting: from announced events and revealed settings to counts, test bits and key bits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mdiqkd_net.blocks import BELL_STATES, CATEGORIES, PSI_MINUS

TEST_CATEGORIES: Final = ("xx", "xy", "yx", "yy")
_TEST: Final = [CATEGORIES.index(name) for name in TEST_CATEGORIES]  # 5, 6, 9, 10
_KEY: Final = CATEGORIES.index("zz")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sifted:
    """One user's view after sifting; Alice is the coordinator.

    Attributes:
        n: Events per category, all sixteen.
        test_category: Category index of each test event, (n_test,).
        test_outcome: Its Bell state, (n_test,).
        test_bits: This user's bits of them, (n_test,).
        key_bits: This user's bits of z-z events, (n_zz,); Bob's are already flipped.
    """

    n: Mapping[str, int]
    test_category: NDArray[np.uint8]
    test_outcome: NDArray[np.uint8]
    test_bits: NDArray[np.uint8]
    key_bits: NDArray[np.uint8]


def sift(
    states: NDArray[np.uint8],
    outcomes: NDArray[np.uint8],
    peer_settings: NDArray[np.uint8],
    *,
    is_alice: bool,
    bell_states: tuple[str, ...],
) -> Sifted:
    """Sort announced events; all inputs have shape (n,).

    Args:
        states: What this user sent, 0 to 6.
        outcomes: What Charles announced.
        peer_settings: What the peer reveals, 0 to 3.
        is_alice: Whether this user is the first letter of a category.
        bell_states: The outcomes that count; events with another are left out.
    """
    accepted = np.array([name in bell_states for name in BELL_STATES])
    counts = _count(states, outcomes, peer_settings, is_alice, accepted)
    n_test = int(counts[_TEST].sum())
    n_key = int(counts[_KEY])
    test = np.empty((3, n_test), np.uint8)
    key_bits = np.empty(n_key, np.uint8)
    _sort(states, outcomes, peer_settings, is_alice, accepted, test, key_bits)
    return Sifted(
        n={name: int(counts[i]) for i, name in enumerate(CATEGORIES)},
        test_category=test[0],
        test_outcome=test[1],
        test_bits=test[2],
        key_bits=key_bits,
    )


@njit(cache=True, nogil=True)
def _category(state: int, peer: int, is_alice: bool) -> int:
    own = (state + 1) >> 1
    return own << 2 | peer if is_alice else peer << 2 | own


@njit(cache=True, nogil=True)
def _count(
    states: Bytes, outcomes: Bytes, peers: Bytes, is_alice: bool, accepted: NDArray[np.bool_]
) -> NDArray[np.int64]:
    counts = np.zeros(16, np.int64)
    for i in range(states.size):
        if accepted[outcomes[i]]:
            counts[_category(states[i], peers[i], is_alice)] += 1
    return counts


@njit(cache=True, nogil=True)
def _sort(
    states: Bytes,
    outcomes: Bytes,
    peers: Bytes,
    is_alice: bool,
    accepted: NDArray[np.bool_],
    test: Bytes,
    key_bits: Bytes,
) -> None:
    """Fill `test` (category, outcome, bit; (3, n_test)) and `key_bits` (n_zz,) in order."""
    n_test = n_key = 0
    for i in range(states.size):
        if not accepted[outcomes[i]]:
            continue
        category = _category(states[i], peers[i], is_alice)
        bit = (states[i] + 1) & 1
        if category == _KEY:
            # In the BSM's own basis both Bell states are anticorrelated: Bob always flips.
            key_bits[n_key] = bit if is_alice else bit ^ 1
            n_key += 1
        elif category in (5, 6, 9, 10):
            test[0, n_test] = category
            test[1, n_test] = outcomes[i]
            test[2, n_test] = bit
            n_test += 1


def wrong_in_test(sifted: Sifted, peer_bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which test events are errors after the flip rule of basis X; the peer's bits in, (n_test,).

    Psi-minus is anticorrelated in X and psi-plus correlated, so Bob flips after psi-minus only.
    """
    flip = (sifted.test_outcome == PSI_MINUS).astype(np.uint8)
    wrong: NDArray[np.bool_] = (sifted.test_bits ^ peer_bits ^ flip).astype(np.bool_)
    return wrong


def errors_of_test(sifted: Sifted, peer_bits: NDArray[np.uint8]) -> dict[str, int]:
    """Errors per test category, given the peer's bits (n_test,)."""
    wrong = wrong_in_test(sifted, peer_bits)
    errors = np.bincount(sifted.test_category[wrong], minlength=len(CATEGORIES))
    return {name: int(errors[CATEGORIES.index(name)]) for name in TEST_CATEGORIES}
