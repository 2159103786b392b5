"""What a link is expected to count: gains, error rates and single-photon yields in closed form.

The model is that of coherent pulses on a beam splitter and two threshold detectors. A pulse has its
light in the early bin (z0), in the late bin (z1), or half in each with a relative sign (x0 and y0
plus, x1 and y1 minus), or whatever an encoding with flaws makes of that. Every bit is uniform.
`misalignment` is a flip of the encoded bit, modelled as a flip of the bit that Bob prepares; the
mode overlap scales the interference term. A pulse pair succeeds when exactly two detectors click,
one in each bin: in different detectors (psi_minus) or in the same one (psi_plus, which takes a
detector that recovers between the bins).

Source of the model: X. Ma & M. Razavi, PRA 86, 062319 (2012), extended to unequal arms, to a
partial overlap of the modes and to any states. Intensity noise, pattern effect and fading enter as
averages over their laws, discrete phases as the sum over them, classical channels as dark counts.
It knows no dead time and no afterpulses, and leaves drift out: it holds for arms as calibrated.
"""

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import (
    CATEGORIES,
    EARLY_0,
    EARLY_1,
    LATE_0,
    LATE_1,
    N_STATES,
    SETTING_O,
    SETTING_Z,
    bit_of,
    setting_of,
)
from mdiqkd_net.params import Link, ReceiverParams
from mdiqkd_net.physics.pair_optics import Arm, PairOptics, PhaseLaw, averaged_optics

Floats = NDArray[np.float64]

N_PATTERNS: Final = 16

ACCEPTED: Final = {
    "psi_minus": (EARLY_0 | LATE_1, EARLY_1 | LATE_0),
    "psi_plus": (EARLY_0 | LATE_0, EARLY_1 | LATE_1),
}
"""Click patterns that announce each Bell state."""

Complex = NDArray[np.complex128]

_HALF: Final = math.sqrt(0.5)

_FLIPPED: Final = np.array([0, 2, 1, 4, 3, 6, 5])
"""The state with the opposite bit; vacuum encodes none."""

_PORTS: Final[Floats] = np.array([1.0, -1.0])
"""Sign of Bob's amplitude at detectors 0 and 1."""

_STATES_OF: Final = (slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 7))
"""States of each setting."""

_STATES: Final = np.arange(N_STATES, dtype=np.uint8)
_SETTING: Final = setting_of(_STATES)
_BIT: Final = bit_of(_STATES)


def state_click_probabilities(link: Link) -> Floats:
    """Probability of every click pattern, given the two prepared states.

    The average over the random relative phase is a sum over equally spaced phases, which
    converges faster than any power for this smooth periodic integrand. All terms are positive,
    so that even gains of 1e-15 keep their relative precision. What a transmitter makes of a state,
    by noise or by the setting before it, is averaged over.

    Returns:
        Shape (7, 7, 16): Alice's state, Bob's state, pattern of EARLY_0 | EARLY_1 | LATE_0 |
        LATE_1; the last axis sums to 1. Misalignment is included, as a flip of Bob's bit.
    """
    return _click_probabilities(link, list(range(N_PATTERNS)))


def gains(link: Link) -> dict[str, float]:
    """Probability of an accepted Bell state per pulse pair of each category, `oo` to `zz`."""
    return _by_category(_success_probabilities(link).sum(axis=-1))


def error_gains(link: Link) -> dict[str, float]:
    """Probability of an accepted Bell state with an error, per pulse pair of each category.

    Bob flips in z and after psi_minus. Where a user sent vacuum, or the bases differ, the bits
    are unrelated: half of the events count as errors.
    """
    success = _success_probabilities(link)
    basis_z = _SETTING == SETTING_Z
    vacuum = _SETTING == SETTING_O
    unrelated = vacuum[:, None] | vacuum[None, :] | (basis_z[:, None] != basis_z[None, :])
    both_z = basis_z[:, None] & basis_z[None, :]
    equal = _BIT[:, None] == _BIT[None, :]
    wrong_minus = np.where(unrelated, 0.5, equal)
    wrong_plus = np.where(unrelated, 0.5, np.where(both_z, equal, ~equal))
    wrong = np.stack([wrong_minus, wrong_plus], axis=-1)
    return _by_category((success * wrong).sum(axis=-1))


def expected_counts(link: Link) -> dict[str, float]:
    """Expected number of accepted events of each category in a block of `n_pulses`."""
    return _scaled(link, gains(link))


def expected_errors(link: Link) -> dict[str, float]:
    """Expected number of errors among them."""
    return _scaled(link, error_gains(link))


def y11(link: Link) -> float:
    """Yield of single-photon pairs in basis Z: probability of an accepted Bell state.

    For ideal states, full overlap and both Bell states this is (1 - p)^2 [A B / 2 + (2 A + 2 B -
    3 A B) p + 4 (1 - A)(1 - B) p^2] with arm efficiencies A, B and dark probability p, in either
    basis.
    """
    right, wrong = _single_photon_pairs(link, "z")
    return right + wrong


def e11(link: Link) -> float:
    """Error rate of single-photon pairs in basis X.

    It is the phase-error rate of basis Z if the states are ideal; flaws that tell the bases apart
    call for a security proof that knows of them, and this program has none.
    """
    right, wrong = _single_photon_pairs(link, "x")
    if right + wrong == 0.0:
        return 0.5
    flip = link.receiver.misalignment
    error = wrong / (right + wrong)
    return (1.0 - flip) * error + flip * (1.0 - error)


def infinite_decoy_rate(link: Link) -> float:
    """Secret bits per pulse pair at the given z intensities, if everything else were free.

    The limit of an infinite block with perfectly known y11 and e11, in which nearly all pulses
    are z. Source: Lo, Curty & Qi, PRL 108, 130503 (2012), Eq. (1). Not clipped at zero.
    """
    z_alice, z_bob = link.alice.z.intensity, link.bob.z.intensity
    gain = gains(link)["zz"]
    qber = error_gains(link)["zz"] / gain if gain > 0.0 else 0.5
    single = z_alice * z_bob * math.exp(-z_alice - z_bob) * y11(link)
    return single * (1.0 - _entropy(e11(link))) - link.f_ec * gain * _entropy(qber)


def landing_probabilities(
    eta_alice: float, eta_bob: float, alice: Complex, bob: Complex, overlap: float
) -> dict[int, float]:
    """Probability of each set of gates that two photons reach, one of each user.

    Two photons of which a fraction `overlap` of the wave functions coincides interfere as bosons
    with that weight, and as distinguishable particles with the rest; every term is positive.

    Args:
        eta_alice: Chance that Alice's photon is detected, wherever it lands.
        eta_bob: The same of Bob's.
        alice: Amplitudes of her photon in the two bins, (2,), of norm 1.
        bob: Of his.
        overlap: Of the modes of the two photons.

    Returns:
        By the pattern of the gates, EARLY_0 | EARLY_1 | LATE_0 | LATE_1; sums to 1.
    """
    # Gate 2 m + s is bin m of detector s, as in the bits of a click pattern.
    a = [complex(alice[m]) * _HALF for m in (0, 1) for _ in _PORTS]
    b = [complex(bob[m] * sign) * _HALF for m in (0, 1) for sign in _PORTS]
    landed = {0: (1.0 - eta_alice) * (1.0 - eta_bob)}

    def add(occupied: int, probability: float) -> None:
        landed[occupied] = landed.get(occupied, 0.0) + probability

    for i in range(4):
        add(1 << i, eta_alice * (1.0 - eta_bob) * abs(a[i]) ** 2)
        add(1 << i, (1.0 - eta_alice) * eta_bob * abs(b[i]) ** 2)
        add(1 << i, eta_alice * eta_bob * (1.0 + overlap) * abs(a[i] * b[i]) ** 2)
        for j in range(i):
            apart = abs(a[i] * b[j]) ** 2 + abs(a[j] * b[i]) ** 2
            together = abs(a[i] * b[j] + a[j] * b[i]) ** 2
            joint = (1.0 - overlap) * apart + overlap * together
            add(1 << i | 1 << j, eta_alice * eta_bob * joint)
    return landed


def with_dark_counts(occupied: int, pattern: int, dark: float) -> float:
    """Probability that dark counts, each of chance `dark`, turn lit gates into this pattern."""
    if occupied & ~pattern:
        return 0.0
    n_dark = (pattern & ~occupied).bit_count()
    return float(dark**n_dark * (1.0 - dark) ** (4 - pattern.bit_count()))


def _optics(link: Link) -> PairOptics:
    return averaged_optics(link.receiver, (Arm.of(link.alice), Arm.of(link.bob)))


def _arm_efficiencies(optics: PairOptics) -> tuple[float, float]:
    """Of each arm with the detectors, averaged over fades."""
    efficiency = optics.receiver.efficiency
    alice, bob = (
        arm * efficiency * float(light.level_probabilities @ light.level_factors)
        for arm, light in zip(optics.transmittances, optics.light, strict=True)
    )
    return alice, bob


def _click_probabilities(link: Link, patterns: list[int]) -> Floats:
    """As `state_click_probabilities`, of these patterns alone; shape (7, 7, n_patterns)."""
    optics = _optics(link)
    fields, weights = [], []
    for user, light, arm in zip(
        (link.alice, link.bob), optics.light, optics.transmittances, strict=True
    ):
        eta = arm * optics.receiver.efficiency
        fields.append(math.sqrt(eta) * light.amplitudes.reshape(-1, N_STATES, 2))
        weights.append(light.variant_probabilities(user.source).ravel())
    aligned = np.zeros((N_STATES, N_STATES, len(patterns)))
    for a, p_a in zip(fields[0], weights[0], strict=True):
        each = _aligned_click_probabilities(
            a, fields[1].reshape(-1, 2), optics.receiver, optics.phase, patterns
        ).reshape(N_STATES, -1, N_STATES, len(patterns))
        aligned += p_a * np.tensordot(weights[1], each, axes=(0, 1))
    flip = link.receiver.misalignment
    return (1.0 - flip) * aligned + flip * aligned[:, _FLIPPED]


def _aligned_click_probabilities(
    alice: Complex,
    bob: Complex,
    receiver: ReceiverParams,
    phase: PhaseLaw,
    patterns: list[int],
) -> Floats:
    """Click patterns without misalignment.

    Shapes: `alice` and `bob` are detected amplitudes, (n, 2) and (m, 2); (n, m, n_patterns) out.
    """
    # The integrand holds exp(k cos phi) with k up to |alice| |bob|; the sum over n phases errs
    # by I_n(k), which is far below the rounding of a double once n exceeds 2 k + 32.
    strength = float(np.linalg.norm(alice, axis=1).max() * np.linalg.norm(bob, axis=1).max())
    n_phases = 32 + 2 * math.ceil(strength)
    if not phase.uniform:
        n_phases = min(n_phases, phase.levels)
    turn = np.exp(2j * math.pi * np.arange(n_phases) / n_phases)
    a = alice[:, None, :, None, None]
    b = bob[None, :, :, None, None]
    swing = 2.0 * math.sqrt(receiver.mode_overlap) * (a.conj() * b * turn).real * _PORTS[:, None]
    # Complete destruction would round to a slightly negative intensity.
    intensity = np.maximum(0.5 * (np.abs(a) ** 2 + np.abs(b) ** 2 + swing), 0.0)
    dark = receiver.dark_probability
    silent = (1.0 - dark) * np.exp(-intensity)
    click = dark - (1.0 - dark) * np.expm1(-intensity)
    # Both detectors of a bin together: none, the first, the second, both.
    s_0, s_1, c_0, c_1 = silent[..., 0, :], silent[..., 1, :], click[..., 0, :], click[..., 1, :]
    early, late = np.moveaxis(np.stack([s_0 * s_1, c_0 * s_1, s_0 * c_1, c_0 * c_1]), 3, 0)
    result: Floats = np.stack(
        [(early[pattern & 3] * late[pattern >> 2]).mean(axis=-1) for pattern in patterns], axis=-1
    )
    return result


def _success_probabilities(link: Link) -> Floats:
    """Accepted events by Bell state; shape (7, 7, 2), zero for a state that is not accepted."""
    success = np.zeros((N_STATES, N_STATES, len(ACCEPTED)))
    patterns = _click_probabilities(link, [p for accepted in ACCEPTED.values() for p in accepted])
    for i, bell in enumerate(ACCEPTED):
        if bell in link.bell_states:
            success[:, :, i] = patterns[:, :, 2 * i : 2 * i + 2].sum(axis=-1)
    return success


def _by_category(by_state: Floats) -> dict[str, float]:
    """Average over the uniform bits of each setting; (7, 7) in."""
    result = {}
    for i, category in enumerate(CATEGORIES):
        alice, bob = divmod(i, 4)
        result[category] = float(by_state[_STATES_OF[alice], _STATES_OF[bob]].mean())
    return result


def _scaled(link: Link, per_pair: dict[str, float]) -> dict[str, float]:
    p_alice, p_bob = link.alice.probabilities, link.bob.probabilities
    return {
        category: link.n_pulses * p_alice[i // 4] * p_bob[i % 4] * per_pair[category]
        for i, category in enumerate(CATEGORIES)
    }


def _single_photon_pairs(link: Link, basis: Literal["x", "z"]) -> tuple[float, float]:
    """Right and wrong yields of single-photon pairs of a basis, before misalignment.

    Each photon is lost or reaches one of the four gates. Two photons of which a fraction M of
    the wave functions coincides interfere as bosons with weight M and as distinguishable
    particles with weight 1 - M, which keeps every term positive.
    """
    optics = _optics(link)
    eta_alice, eta_bob = _arm_efficiencies(optics)
    receiver, first = optics.receiver, {"x": 1, "z": 5}[basis]
    yields = [0.0, 0.0]
    for bit_alice in (0, 1):
        for bit_bob in (0, 1):
            landed = landing_probabilities(
                eta_alice,
                eta_bob,
                optics.light[0].modes[first + bit_alice],
                optics.light[1].modes[first + bit_bob],
                receiver.mode_overlap,
            )
            for bell in link.bell_states:
                opposite = basis == "z" or bell == "psi_minus"
                wrong = (bit_alice == bit_bob) == opposite
                for pattern in ACCEPTED[bell]:
                    yields[wrong] += 0.25 * sum(
                        p * with_dark_counts(occupied, pattern, receiver.dark_probability)
                        for occupied, p in landed.items()
                    )
    return yields[0], yields[1]


def _entropy(x: float) -> float:
    if x <= 0.0 or x >= 1.0:
        return 0.0
    return -x * math.log2(x) - (1.0 - x) * math.log2(1.0 - x)
