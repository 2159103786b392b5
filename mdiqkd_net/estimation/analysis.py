"""The choice of an analysis, made before the counts of a block are known."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.accounting import ACCOUNTINGS
from mdiqkd_net.estimation.certificate.design import Design
from mdiqkd_net.estimation.methods import METHODS, Method
from mdiqkd_net.estimation.tails import TAILS

DEFAULT_TAIL: Final = "chernoff"


class Analysis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a block is judged. The best of several results is not a key: one choice, in advance.

    Attributes:
        method: A name of `methods.METHODS`.
        tail: A name of `tails.TAILS`.
        accounting: A name of `accounting.ACCOUNTINGS`.
        design: What the method "certificate" wants frozen before the block.
        digest: SHA-256 of the design as both users stored it before the block, hexadecimal. An
            estimate refuses a design with another. Without one the number of an estimate is what a
            block with this design frozen before it would have been worth, and no key.

    Raises:
        ConfigError: There is no such method, tail or accounting, or they do not go together.
    """

    method: str = "double_scan"
    tail: str = DEFAULT_TAIL
    accounting: str = "variable"
    design: Design | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        _require_known("method", self.method, METHODS)
        _require_known("tail", self.tail, TAILS)
        _require_known("accounting", self.accounting, ACCOUNTINGS)
        method = METHODS[self.method]
        if self.accounting not in method.accountings:
            raise ConfigError(
                f"accounting: found {self.accounting!r}; allowed with the method {self.method}: "
                f"{', '.join(method.accountings)}"
            )
        if method.frozen and self.tail != DEFAULT_TAIL:
            raise ConfigError(
                f"tail: found {self.tail!r}; allowed with the method {self.method}: none, "
                "it uses no tail bounds"
            )
        if self.design is not None and not method.frozen:
            raise ConfigError(
                f"design: found one with the method {self.method}; allowed: with certificate"
            )
        if self.digest is not None and self.design is None:
            raise ConfigError("digest: found one without a design; allowed: both or neither")

    @property
    def rules(self) -> Method:
        """The method itself."""
        return METHODS[self.method]


def _require_known(kind: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise ConfigError(f"{kind}: found {name!r}; allowed: {', '.join(names)}")
