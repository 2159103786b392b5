"""The settings that a user chose for a session: functions of segment keys, never stored.

The transmitter and the endpoint core of one user share this object; nobody else sees it.
"""

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.params import Setting, Source, SourceBounds
from mdiqkd_net.physics.settings import SegmentSettings
from mdiqkd_net.units import from_nano, to_nano, to_nano_up
from mdiqkd_net.wire.messages import DeclaredBounds, SourceSettings

PARAMETERS_DIFFER = 0x0203

Entropy = Callable[[int], bytes]
"""`entropy(n)` gives n bytes that nobody can predict; `secrets.token_bytes` in the nodes."""


def source_settings(source: Source) -> SourceSettings:
    """A source as it travels: integers of 1e-9, its bounds rounded up."""
    settings, bounds = (source.x, source.y, source.z), source.bounds
    spreads = (bounds.x_relative, bounds.y_relative, bounds.z_relative)
    return SourceSettings(
        bounds=DeclaredBounds(
            intensity_correlation=to_nano_up(bounds.intensity_correlation),
            phase_nonuniformity=to_nano_up(bounds.phase_nonuniformity),
            relative=[to_nano_up(spread) for spread in spreads],
            trojan_photons=to_nano_up(bounds.trojan_photons),
            vacuum_intensity=to_nano_up(bounds.vacuum_intensity),
            vacuum_light=bounds.vacuum_light,
        ),
        intensities=[to_nano(s.intensity) for s in settings],
        probabilities=[to_nano(s.probability) for s in settings],
    )


def source_of(settings: SourceSettings) -> Source:
    """Undo `source_settings`, up to its rounding to 1e-9.

    Raises:
        ValueError: x not below y, probabilities past 1, or a bound of 1 or more.
    """
    told = settings.bounds
    x_relative, y_relative, z_relative = (from_nano(spread) for spread in told.relative)
    bounds = SourceBounds(
        x_relative=x_relative,
        y_relative=y_relative,
        z_relative=z_relative,
        vacuum_intensity=from_nano(told.vacuum_intensity),
        vacuum_light=told.vacuum_light,
        phase_nonuniformity=from_nano(told.phase_nonuniformity),
        intensity_correlation=from_nano(told.intensity_correlation),
        trojan_photons=from_nano(told.trojan_photons),
    )
    pairs = zip(settings.intensities, settings.probabilities, strict=True)
    x, y, z = (Setting(intensity=from_nano(i), probability=from_nano(p)) for i, p in pairs)
    return Source(x=x, y=y, z=z, bounds=bounds)


def peer_source(settings: SourceSettings) -> Source:
    """The peer's source.

    Raises:
        RemoteProtocolError: Settings that no source can have.
    """
    try:
        return source_of(settings)
    except ValueError as error:
        raise RemoteProtocolError(f"peer's source: {error}", PARAMETERS_DIFFER) from None


class SessionLight:
    """The states of every pulse of a session, segment by segment.

    Two threads use it: the transmitter's and the endpoint core's.
    """

    def __init__(self, source: Source, n_segments: int, entropy: Entropy) -> None:
        self.source = source
        self._n_segments = n_segments
        self._entropy = entropy
        self._segments: dict[int, SegmentSettings] = {}
        self._lock = Lock()

    def states_at(self, segment: int, pulses: NDArray[np.int64]) -> NDArray[np.uint8]:
        """States 0 to 6 of pulses of one segment; shape (n,) in and out.

        Raises:
            ValueError: The session has no such segment.
        """
        if not 0 <= segment < self._n_segments:
            raise ValueError(f"segment: found {segment}; allowed: 0 to {self._n_segments - 1}")
        with self._lock:
            settings = self._segments.get(segment)
            if settings is None:
                settings = SegmentSettings(self._entropy(32), self.source)
                self._segments[segment] = settings
        return settings.states_at(pulses)

    def wipe(self) -> None:
        """Forget every segment key."""
        with self._lock:
            for settings in self._segments.values():
                settings.wipe()
            self._segments.clear()
            self._n_segments = 0
