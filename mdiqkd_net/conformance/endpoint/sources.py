"""Sources that a user must not believe its peer (spec 3.5, 6.1)."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from mdiqkd_net.units import NANO
from mdiqkd_net.wire.messages import SourceSettings

Change = Callable[[Any], Any]

_replace = msgspec.structs.replace


def _with(change: Callable[[SourceSettings], SourceSettings]) -> Change:
    return lambda message: _replace(message, source=change(message.source))


def _bounded(**bounds: object) -> Change:
    return _with(lambda source: _replace(source, bounds=_replace(source.bounds, **bounds)))


UNBELIEVABLE: Final[tuple[tuple[str, str, Change], ...]] = (
    (
        "probabilities that no source can have",
        "6.1",
        _with(lambda source: _replace(source, probabilities=[NANO, NANO, NANO])),
    ),
    ("a bound `relative` of 1", "3.5", _bounded(relative=[0, NANO, 0])),
    ("a bound `vacuum_intensity` of 1", "3.5", _bounded(vacuum_intensity=NANO)),
    ("a bound `phase_nonuniformity` of 1", "3.5", _bounded(phase_nonuniformity=NANO)),
    ("a bound `intensity_correlation` of 1", "3.5", _bounded(intensity_correlation=NANO)),
)
"""What is wrong with it, the clause, and what makes it of the source of a sound message."""
