"""Sifting: from announced events and revealed settings to counts, test bits and key bits."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import (
    BELL_STATES,
    CATEGORIES,
    PSI_MINUS,
    SETTING_X,
    SETTING_Y,
    SETTING_Z,
    bit_of,
    setting_of,
)

TEST_CATEGORIES = ("xx", "xy", "yx", "yy")


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
    accepted = [i for i, name in enumerate(BELL_STATES) if name in bell_states]
    if len(accepted) < len(BELL_STATES):
        kept = np.isin(outcomes, accepted)
        states, outcomes, peer_settings = states[kept], outcomes[kept], peer_settings[kept]
    own = setting_of(states)
    alice, bob = (own, peer_settings) if is_alice else (peer_settings, own)
    category = (alice << np.uint8(2)) | bob
    counts = np.bincount(category, minlength=len(CATEGORIES))
    both_z = category == (SETTING_Z << 2 | SETTING_Z)
    both_test = _is_test(own) & _is_test(peer_settings)
    bits = bit_of(states)
    key_bits = bits[both_z]
    if not is_alice:
        # In the BSM's own basis both Bell states are anticorrelated: Bob always flips.
        key_bits = key_bits ^ np.uint8(1)
    return Sifted(
        n={name: int(counts[i]) for i, name in enumerate(CATEGORIES)},
        test_category=category[both_test],
        test_outcome=outcomes[both_test],
        test_bits=bits[both_test],
        key_bits=key_bits,
    )


def _is_test(settings: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = (settings == SETTING_X) | (settings == SETTING_Y)
    return mask


def errors_of_test(sifted: Sifted, peer_bits: NDArray[np.uint8]) -> dict[str, int]:
    """Errors per test category after the flip rule of basis X, given the peer's bits (n_test,).

    Psi-minus is anticorrelated in X and psi-plus correlated, so Bob flips after psi-minus only.
    """
    flip = (sifted.test_outcome == PSI_MINUS).astype(np.uint8)
    wrong = (sifted.test_bits ^ peer_bits ^ flip).astype(bool)
    errors = np.bincount(sifted.test_category[wrong], minlength=len(CATEGORIES))
    return {name: int(errors[CATEGORIES.index(name)]) for name in TEST_CATEGORIES}
