"""Which users of a network share keys: one function for each topology, and their names."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Final

from mdiqkd_net.errors import ConfigError

UserPair = tuple[str, str]
"""Two user ids, the lower first."""


def pair(users: Iterable[str]) -> list[UserPair]:
    """Two users on one relay.

    Raises:
        ConfigError: There are fewer users than two, or more.
    """
    names = _checked(users)
    if len(names) != 2:
        raise ConfigError(
            f'users: found {len(names)} ({", ".join(names)}); allowed: 2 with topology "pair"'
        )
    return [(names[0], names[1])]


def star(users: Iterable[str]) -> list[UserPair]:
    """Every user with every other, all on one relay.

    Raises:
        ConfigError: There are fewer users than two.
    """
    return list(combinations(_checked(users), 2))


TOPOLOGIES: Final[Mapping[str, Callable[[Iterable[str]], list[UserPair]]]] = {
    "pair": pair,
    "star": star,
}


def pairs(topology: str, users: Iterable[str]) -> list[UserPair]:
    """All pairs of a topology, sorted, the lower id first in each.

    Raises:
        ConfigError: The topology is unknown, or these users do not fit it.
    """
    if topology not in TOPOLOGIES:
        allowed = " or ".join(f'"{name}"' for name in TOPOLOGIES)
        raise ConfigError(f'topology: found "{topology}"; allowed: {allowed}')
    return TOPOLOGIES[topology](users)


def _checked(users: Iterable[str]) -> list[str]:
    names = sorted(users)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise ConfigError(f"users: found {len(names)} ({found}); allowed: 2 or more")
    return names
