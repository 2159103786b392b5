"""The monitors as the table of the manual: limits, and how often chance alone passes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mdiqkd_net.monitoring.cusum import LIMIT, run_length
from mdiqkd_net.monitoring.rules import (
    ENOUGH_FOR_SHARE,
    FALSE_ALARM,
    LAGS,
    MODULI,
    RATE_Z,
    SATURATION,
    SHARE_LIMIT,
    X_FLOOR,
    X_FLOOR_SLOPE,
)
from mdiqkd_net.monitoring.statistics import two_sided_p
from mdiqkd_net.monitoring.watch import LATE_FACTOR, LATE_FLOOR_S, MIN_BATCHES, RELAY_ENDS

_DAY: Final = "the last 24 h"
_ITSELF: Final = "each other"


@dataclass(frozen=True, slots=True)
class Limit:
    """When a monitor alarms.

    Attributes:
        looks_at: Its figure.
        alarms: The limit.
        against: What the figure is held against.
        chance: Of a false alarm in a block of an honest, steady link, at most; asymptotically.
            None if it is not a matter of chance.
    """

    looks_at: str
    alarms: str
    against: str
    chance: float | None


LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "MON-01": Limit(
            "announcements per second; share of psi-minus",
            f"the rate has moved by more than {RATE_Z:g} σ; the share is outside "
            f"0.5 ± {SHARE_LIMIT:g} (both Bell states must count, from {ENOUGH_FOR_SHARE} events "
            "on)",
            _DAY,
            two_sided_p(RATE_Z) + FALSE_ALARM,
        ),
        "MON-02": Limit(
            "events of the 16 categories",
            "chi-square",
            f"commissioned gains with a tolerance, or {_DAY}",
            FALSE_ALARM,
        ),
        "MON-03": Limit(
            "errors of Z, and of X for each Bell state",
            "a drift; X errors fewer than coherent light allows",
            f"the last hour; {X_FLOOR:.0%} less {X_FLOOR_SLOPE:g} of the received intensity",
            FALSE_ALARM,
        ),
        "MON-04": Limit(
            "yield of pairs in Z over that in X",
            f"they differ by more than {SATURATION:g} times the received intensity",
            _ITSELF,
            FALSE_ALARM,
        ),
        "MON-05": Limit(
            f"pulse numbers modulo {MODULI[0]} to {MODULI[-1]}; distances of neighbouring events: "
            f"their law beyond the dead time, their correlation over {len(LAGS)} lags, their "
            "histogram",
            "chi-square",
            f"uniform and geometric laws; {_DAY}",
            FALSE_ALARM,
        ),
        "MON-06": Limit(
            "bounds on yield and phase errors of single-photon pairs",
            f"CUSUM passes {LIMIT:g}, of either",
            "all blocks before",
            2.0 / run_length(LIMIT),
        ),
        "MON-07": Limit(
            "visibility: 1 - 2 × X errors of xx and yy",
            "lower",
            "the commissioned one, or the oldest block of the history",
            FALSE_ALARM,
        ),
        "MON-08": Limit(
            "how far batches are behind the steady pace of their session, from "
            f"{MIN_BATCHES} batches on",
            f"the 99th percentile is {LATE_FACTOR:g} times the greatest before, and above "
            f"{LATE_FLOOR_S:g} s",
            _DAY,
            None,
        ),
        "MON-09": Limit(
            "how blocks ended",
            f"any equivocation; more than {RELAY_ENDS} sessions within 24 h that the relay ended, "
            "spoiled or left in silence",
            "-",
            None,
        ),
        "MON-10": Limit(
            f"settings of the events that another event follows {LAGS[0]} to {LAGS[-1]} pulses "
            "later",
            "they differ from those without a successor (chi-square)",
            _ITSELF,
            FALSE_ALARM,
        ),
    }
)


def markdown() -> str:
    """The table of docs/reference/monitors.md, ending in a newline."""
    head = "| monitor | looks at | alarms if | against | false alarms per block |\n"
    return head + "|---|---|---|---|---|\n" + "".join(map(_row, LIMITS))


def _row(name: str) -> str:
    limit = LIMITS[name]
    chance = "not of chance" if limit.chance is None else f"{limit.chance:.1e}"
    return f"| {name} | {limit.looks_at} | {limit.alarms} | {limit.against} | {chance} |\n"
