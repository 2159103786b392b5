"""Hostile relays by name: what each does, what the users find, and what it cannot do.

The names stand in `relay = "byzantine:NAME"` of a scenario or of a relay's configuration. Those
that twist the light are `physics.attacks`; the others twist words (`lists`, `order`, `frames`).
"""

from typing import Final

from mdiqkd_net.byzantine.behaviour import Extent
from mdiqkd_net.byzantine.conduct import Conduct
from mdiqkd_net.byzantine.registry import BEHAVIOURS

__all__ = ["BEHAVIOURS", "HONEST", "PREFIX", "Conduct", "check", "conduct_of"]

PREFIX: Final = "byzantine:"
HONEST: Final = "honest"


def conduct_of(relay: str) -> Conduct | None:
    """The conduct that `relay = "..."` names; None for an honest relay.

    Raises:
        ValueError: A name that is not known, with those that are.
    """
    if relay == HONEST:
        return None
    known = BEHAVIOURS.get(relay.removeprefix(PREFIX)) if relay.startswith(PREFIX) else None
    if known is None:
        allowed = ", ".join((HONEST, *(PREFIX + name for name in BEHAVIOURS)))
        raise ValueError(f"relay: found {relay!r}; allowed: {allowed}")
    return known


def check(relay: str, extent: Extent) -> Conduct | None:
    """The conduct of a relay, if `extent` fits it.

    Raises:
        ValueError: An extent for an honest relay, or for an attack on the light, which begins with
            the first pulse; a share where there is none; a name that is not known.
    """
    conduct = conduct_of(relay)
    if extent == Extent():
        return conduct
    if conduct is None or conduct.attack is not None:
        raise ValueError(f"byzantine: found an extent; allowed with relay = {relay!r}: none")
    if extent.share is not None and conduct.share is None:
        raise ValueError(f"byzantine.share: found {extent.share}; allowed with {relay!r}: none")
    return conduct
