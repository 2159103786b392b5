"""What every encoding says of itself: states on a Bloch sphere, and how the relay sees them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES
from mdiqkd_net.imperfections import TransmitterParams
from mdiqkd_net.units import transmittance


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Where the six states with a bit lie, and what the relay makes of the encoder's two modes.

    A point (θ, φ) of the encoder's Bloch sphere is the mode cos(θ/2) |0> + e^{iφ} sin(θ/2) |1>.

    Attributes:
        angles_rad: (θ, φ) of x0 x1 y0 y1 z0 z1, shape (6, 2).
        to_receiver: Unitary (2, 2) of the relay's optics before its beam splitter: from the
            encoder's modes to the two modes that the receiver tells apart.
        has_bins: Whether the encoder's modes are two time bins of one polarization. Then a turn of
            the polarization costs light at the relay's polarizers, and a difference in frequency
            turns the phase from bin to bin; otherwise the first turns the state, and the second
            does nothing.
    """

    angles_rad: NDArray[np.float64]
    has_bins: bool
    to_receiver: NDArray[np.complex128] = field(
        default_factory=lambda: np.eye(2, dtype=np.complex128)
    )

    def modes(self, transmitter: TransmitterParams) -> NDArray[np.complex128]:
        """Normalized amplitudes in the encoder's modes, shape (7, 2), rows as in `blocks`.

        The angle errors are added to (θ, φ), as in Tamaki et al., PRA 90, 052314 (2014). A finite
        mode extinction ε tilts z0 and z1 towards the equator by 2 arctan √ε: coherent light in
        the dark mode, with ε times the intensity of the bright one. Row 0 is the light of a vacuum
        pulse, if there is any: an idle encoder makes x0.
        """
        errors = transmitter.angle_errors
        angles = self.angles_rad + np.array(
            [
                (error.polar_rad, error.azimuth_rad)
                for error in (errors.x0, errors.x1, errors.y0, errors.y1, errors.z0, errors.z1)
            ]
        )
        if transmitter.mode_extinction_db is not None:
            tilt = 2.0 * np.arctan(np.sqrt(transmittance(transmitter.mode_extinction_db)))
            angles[4, 0] += tilt
            angles[5, 0] -= tilt
        modes = np.empty((N_STATES, 2), dtype=np.complex128)
        modes[1:, 0] = _exact(np.cos(angles[:, 0] / 2.0))
        modes[1:, 1] = _exact(np.sin(angles[:, 0] / 2.0)) * _exact(np.exp(1j * angles[:, 1]))
        modes[0] = modes[1]
        return modes


def _exact(values: NDArray[np.complex128] | NDArray[np.float64]) -> NDArray[np.complex128]:
    """Cosines of right angles as zero, not as 6e-17: a dark mode has no light to interfere."""
    parts = np.array(values, dtype=np.complex128)
    parts.real[np.abs(parts.real) < 1e-15] = 0.0
    parts.imag[np.abs(parts.imag) < 1e-15] = 0.0
    return parts
