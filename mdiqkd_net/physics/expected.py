"""What a link is expected to count: gains, error rates and single-photon yields in closed form.

A pulse has its light in the early bin (z0), in the late bin (z1), or half in each with a relative
sign (x0 and y0 plus, x1 and y1 minus), or whatever an encoding with flaws makes of that. Every bit
is uniform. `optics` says which detectors would click, `dead_time` which clicks are registered. A
pulse pair succeeds when exactly two detectors' clicks are registered, one in each bin: in different
detectors (psi_minus) or in the same one (psi_plus, which takes a detector that recovers between the
bins).

Source of the model: X. Ma & M. Razavi, PRA 86, 062319 (2012), extended to unequal arms, unequal
detectors, any splitter, a partial overlap of the modes and any states. Intensity noise, pattern
effect and fading enter as averages over their laws, discrete phases as the sum over them, classical
channels as dark counts. Without a dead time this is exact.

With a dead time, all figures are those long after the start of a segment, averaged over pulses.
They are exact for dead times up to `dead_time.MAX_MEMORY` pulses if pulses are independent of each
other but for the detectors: what a detector has seen before does not depend on the state that is
sent now, nor on its photon number, so that single-photon yields lose to dead time as gains do.
Longer dead times are those of detectors independent of each other. Where something else ties pulses
together (a pattern effect, a fade that lasts, a phase that walks or beats), each pulse has the
average over it, and what that means for the dead time of its neighbors is left out.

Afterpulses and drift are left out altogether; `link_clicks.left_out` names what a link
has of all that.
"""

import math
from typing import Final, Literal

import msgspec
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
from mdiqkd_net.params import Link, Setting
from mdiqkd_net.physics.link_clicks import (
    link_optics,
    link_patterns,
    link_registration,
    reach_of,
)
from mdiqkd_net.physics.optics import N_PATTERNS
from mdiqkd_net.physics.pair_optics import PairOptics

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

ACCEPTED: Final = {
    "psi_minus": (EARLY_0 | LATE_1, EARLY_1 | LATE_0),
    "psi_plus": (EARLY_0 | LATE_0, EARLY_1 | LATE_1),
}
"""Click patterns that announce each Bell state."""

_STATES: Final = np.arange(N_STATES, dtype=np.uint8)
_SETTING: Final = setting_of(_STATES)
_BIT: Final = bit_of(_STATES)

_OF_SETTING: Final = np.arange(4)[:, None] == _SETTING
_BITS: Final[Floats] = _OF_SETTING / _OF_SETTING.sum(axis=1, keepdims=True)
"""Chance of each state, given the setting; (4, 7)."""


def state_click_probabilities(link: Link) -> Floats:
    """Probability of every registered click pattern, given the two prepared states.

    What a transmitter makes of a state, by noise or by the setting before it, is averaged over.

    Returns:
        Shape (7, 7, 16): Alice's state, Bob's state, pattern of EARLY_0 | EARLY_1 | LATE_0 |
        LATE_1; the last axis sums to 1. Misalignment is included, as a flip of Bob's bit.

    Raises:
        ConfigError: On a dead time without a pulse rate.
        DeviceError: On numbers that no device has.
    """
    optics = link_optics(link)
    raw, reach = link_patterns(link, optics), reach_of(link)
    registered = raw if reach is None else raw @ link_registration(link, raw, reach)
    return registered.reshape(N_STATES, N_STATES, N_PATTERNS)


def gains(link: Link) -> dict[str, float]:
    """Probability of an accepted Bell state per pulse pair of each category, `oo` to `zz`."""
    return gains_and_errors(link)[0]


def error_gains(link: Link) -> dict[str, float]:
    """Probability of an accepted Bell state with an error, per pulse pair of each category."""
    return gains_and_errors(link)[1]


def gains_and_errors(link: Link) -> tuple[dict[str, float], dict[str, float]]:
    """`gains` and `error_gains` at the price of one of them.

    Bob flips in z and after psi_minus. Where a user sent vacuum, or the bases differ, the bits
    are unrelated: half of the events count as errors.

    Raises:
        ConfigError: On a dead time without a pulse rate.
        DeviceError: On numbers that no device has.
    """
    success = _success_probabilities(link)
    return _by_category(success.sum(axis=-1)), _by_category((success * _WRONG).sum(axis=-1))


def expected_counts(link: Link) -> dict[str, float]:
    """Expected number of accepted events of each category in a block of `n_pulses`."""
    return _scaled(link, gains(link))


def expected_errors(link: Link) -> dict[str, float]:
    """Expected number of errors among them."""
    return _scaled(link, error_gains(link))


def y11(link: Link) -> float:
    """Yield of single-photon pairs in basis Z: probability of an accepted Bell state.

    For ideal states, full overlap, both Bell states and equal detectors without a dead time behind
    a balanced splitter this is (1 - p)^2 [A B / 2 + (2 A + 2 B - 3 A B) p + 4 (1 - A)(1 - B) p^2]
    with arm efficiencies A, B and dark probability p, in either basis.
    """
    optics = link_optics(link)
    return sum(_single_photon_pairs(optics, _announced(link, optics), "z"))


def e11(link: Link) -> float:
    """Error rate of single-photon pairs in basis X.

    It is the phase-error rate of basis Z if the states are ideal; flaws that tell the bases apart
    call for a security proof that knows of them, and this program has none.
    """
    optics = link_optics(link)
    return _e11(link, optics, _announced(link, optics))


def infinite_decoy_rate(link: Link) -> float:
    """Secret bits per pulse pair at the given z intensities, if everything else were free.

    The limit of an infinite block with perfectly known y11 and e11, in which nearly all pulses
    are z, whatever the link says about their probabilities: a dead time is that of z light.
    Source: Lo, Curty & Qi, PRL 108, 130503 (2012), Eq. (1). Not clipped at zero.
    """
    link = _all_z(link)
    optics = link_optics(link)
    announced = _announced(link, optics)
    right, wrong = _single_photon_pairs(optics, announced, "z")
    z_alice, z_bob = link.alice.z.intensity, link.bob.z.intensity
    single = z_alice * z_bob * math.exp(-z_alice - z_bob) * (right + wrong)
    gain, error_gain = (by_category["zz"] for by_category in gains_and_errors(link))
    qber = error_gain / gain if gain > 0.0 else 0.5
    phase_error = _e11(link, optics, announced)
    return single * (1.0 - _entropy(phase_error)) - link.f_ec * gain * _entropy(qber)


def landing_probabilities(
    eta_alice: float,
    eta_bob: float,
    alice: Complex,
    bob: Complex,
    overlap: float,
    *,
    splitter: float = 0.5,
    efficiencies: tuple[float, float] = (1.0, 1.0),
) -> dict[int, float]:
    """Probability of each set of gates in which two photons are detected, one of each user.

    Two photons of which a fraction `overlap` of the wave functions coincides interfere as bosons
    with that weight, and as distinguishable particles with the rest; every term is positive.

    Args:
        eta_alice: Chance that Alice's photon reaches the splitter. What both detectors have in
            common may be part of it.
        eta_bob: The same of Bob's.
        alice: Amplitudes of her photon in the two bins, (2,), of norm 1.
        bob: Of his.
        overlap: Of the modes of the two photons.
        splitter: Share of Alice's light that goes to detector 0, and of Bob's to detector 1.
        efficiencies: Of detectors 0 and 1, as far as `eta_alice` and `eta_bob` leave them out.

    Returns:
        By the pattern of the gates, EARLY_0 | EARLY_1 | LATE_0 | LATE_1; sums to 1.
    """
    # Gate 2 m + s is bin m of detector s, as in the bits of a click pattern.
    through, across = math.sqrt(splitter), math.sqrt(1.0 - splitter)
    a = [complex(alice[m]) * part for m in (0, 1) for part in (through, across)]
    b = [complex(bob[m]) * part for m in (0, 1) for part in (across, -through)]
    seen = efficiencies * 2
    landed = {0: (1.0 - eta_alice) * (1.0 - eta_bob)}

    def add(probability: float, *gates: int) -> None:
        """Photons that land in these gates, each detected or lost there."""
        chances = {0: probability}
        for gate in gates:
            split: dict[int, float] = {}
            for occupied, chance in chances.items():
                for more, part in ((1 << gate, seen[gate]), (0, 1.0 - seen[gate])):
                    split[occupied | more] = split.get(occupied | more, 0.0) + chance * part
            chances = split
        for occupied, chance in chances.items():
            landed[occupied] = landed.get(occupied, 0.0) + chance

    for i in range(4):
        add(eta_alice * (1.0 - eta_bob) * abs(a[i]) ** 2, i)
        add((1.0 - eta_alice) * eta_bob * abs(b[i]) ** 2, i)
        add(eta_alice * eta_bob * (1.0 + overlap) * abs(a[i] * b[i]) ** 2, i, i)
        for j in range(i):
            apart = abs(a[i] * b[j]) ** 2 + abs(a[j] * b[i]) ** 2
            together = abs(a[i] * b[j] + a[j] * b[i]) ** 2
            joint = (1.0 - overlap) * apart + overlap * together
            add(eta_alice * eta_bob * joint, i, j)
    return landed


def with_dark_counts(occupied: int, pattern: int, dark: float) -> float:
    """Probability that dark counts, each of chance `dark`, turn lit gates into this pattern."""
    if occupied & ~pattern:
        return 0.0
    n_dark = (pattern & ~occupied).bit_count()
    return float(dark**n_dark * (1.0 - dark) ** (4 - pattern.bit_count()))


def _wrong_events() -> Floats:
    """Share of errors among the events of a pair of states, by Bell state; (7, 7, 2)."""
    basis_z = _SETTING == SETTING_Z
    vacuum = _SETTING == SETTING_O
    unrelated = vacuum[:, None] | vacuum[None, :] | (basis_z[:, None] != basis_z[None, :])
    both_z = basis_z[:, None] & basis_z[None, :]
    equal = _BIT[:, None] == _BIT[None, :]
    wrong_minus = np.where(unrelated, 0.5, equal)
    wrong_plus = np.where(unrelated, 0.5, np.where(both_z, equal, ~equal))
    return np.stack([wrong_minus, wrong_plus], axis=-1)


_WRONG: Final = _wrong_events()


def _accepted(link: Link) -> Floats:
    """Which registered patterns announce which of the link's Bell states; (16, 2), 0 or 1."""
    accepted = np.zeros((N_PATTERNS, len(ACCEPTED)))
    for i, (bell, patterns) in enumerate(ACCEPTED.items()):
        if bell in link.bell_states:
            accepted[list(patterns), i] = 1.0
    return accepted


def _announced(link: Link, optics: PairOptics) -> Floats:
    """Chance that a raw pattern announces each of the link's Bell states; (16, 2)."""
    accepted, reach = _accepted(link), reach_of(link)
    if reach is None:
        return accepted
    announced: Floats = link_registration(link, link_patterns(link, optics), reach) @ accepted
    return announced


def _success_probabilities(link: Link) -> Floats:
    """Accepted events by Bell state; shape (7, 7, 2), zero for a state that is not accepted."""
    optics, accepted, reach = link_optics(link), _accepted(link), reach_of(link)
    if reach is None:
        wanted = np.flatnonzero(accepted.any(axis=1))
        success = link_patterns(link, optics, wanted.tolist()) @ accepted[wanted]
    else:
        raw = link_patterns(link, optics)
        success = raw @ (link_registration(link, raw, reach) @ accepted)
    result: Floats = success.reshape(N_STATES, N_STATES, len(ACCEPTED))
    return result


def _by_category(by_state: Floats) -> dict[str, float]:
    """Average over the uniform bits of each setting; (7, 7) in."""
    average = _BITS @ by_state @ _BITS.T
    return dict(zip(CATEGORIES, average.ravel().tolist(), strict=True))


def _scaled(link: Link, per_pair: dict[str, float]) -> dict[str, float]:
    p_alice, p_bob = link.alice.probabilities, link.bob.probabilities
    return {
        category: link.n_pulses * p_alice[i // 4] * p_bob[i % 4] * per_pair[category]
        for i, category in enumerate(CATEGORIES)
    }


def _single_photon_pairs(
    optics: PairOptics, announced: Floats, basis: Literal["x", "z"]
) -> tuple[float, float]:
    """Right and wrong yields of single-photon pairs of a basis, before misalignment."""
    receiver, first = optics.receiver, {"x": 1, "z": 5}[basis]
    efficiencies = receiver.efficiency * np.array([1.0, receiver.efficiency_ratio])
    best = float(efficiencies.max()) or 1.0
    own = (float(efficiencies[0]) / best, float(efficiencies[1]) / best)
    eta_alice, eta_bob = (
        arm * best * float(light.level_probabilities @ light.level_factors)
        for arm, light in zip(optics.transmittances, optics.light, strict=True)
    )
    # Chance that lit gates and darks make a pattern that announces each Bell state.
    by_occupied = [
        sum(
            with_dark_counts(occupied, pattern, receiver.dark_probability) * announced[pattern]
            for pattern in np.flatnonzero(announced.any(axis=1)).tolist()
        )
        for occupied in range(N_PATTERNS)
    ]
    yields = [0.0, 0.0]
    for bit_alice in (0, 1):
        for bit_bob in (0, 1):
            landed = landing_probabilities(
                eta_alice,
                eta_bob,
                optics.light[0].modes[first + bit_alice],
                optics.light[1].modes[first + bit_bob],
                receiver.mode_overlap,
                splitter=receiver.splitter_transmittance,
                efficiencies=own,
            )
            success = sum(p * by_occupied[occupied] for occupied, p in landed.items())
            for i, bell in enumerate(ACCEPTED):
                opposite = basis == "z" or bell == "psi_minus"
                wrong = (bit_alice == bit_bob) == opposite
                yields[wrong] += 0.25 * float(success[i])
    return yields[0], yields[1]


def _e11(link: Link, optics: PairOptics, announced: Floats) -> float:
    right, wrong = _single_photon_pairs(optics, announced, "x")
    if right + wrong == 0.0:
        return 0.5
    flip = link.receiver.misalignment
    error = wrong / (right + wrong)
    return (1.0 - flip) * error + flip * (1.0 - error)


def _all_z(link: Link) -> Link:
    """The link with nothing but z pulses."""
    alice, bob = (
        msgspec.structs.replace(
            user,
            x=Setting(user.x.intensity, 0.0),
            y=Setting(user.y.intensity, 0.0),
            z=Setting(user.z.intensity, 1.0),
        )
        for user in (link.alice, link.bob)
    )
    return msgspec.structs.replace(link, alice=alice, bob=bob)


def _entropy(x: float) -> float:
    if x <= 0.0 or x >= 1.0:
        return 0.0
    return -x * math.log2(x) - (1.0 - x) * math.log2(1.0 - x)
