"""The choice of an analysis, made before the counts of a block are known."""

from collections.abc import Iterable

from msgspec import Struct

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.accounting import ACCOUNTINGS
from mdiqkd_net.estimation.methods import METHODS
from mdiqkd_net.estimation.tails import TAILS


class Analysis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a block is judged. The best of several results is not a key: one choice, in advance.

    Attributes:
        method: A name of `methods.METHODS`.
        tail: A name of `tails.TAILS`.
        accounting: A name of `accounting.ACCOUNTINGS`.

    Raises:
        ConfigError: There is no such method, tail or accounting.
    """

    method: str = "double_scan"
    tail: str = "chernoff"
    accounting: str = "variable"

    def __post_init__(self) -> None:
        _require_known("method", self.method, METHODS)
        _require_known("tail", self.tail, TAILS)
        _require_known("accounting", self.accounting, ACCOUNTINGS)


def _require_known(kind: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise ConfigError(f"{kind}: found {name!r}; allowed: {', '.join(names)}")
