"""What a case is, how it can end, and how cases get their stable numbers.

Two things are judged apart: what a node does (`Broken` or not), and how it closes a link that it
refuses (`Close`). A node that merely drops the connection has refused, but nobody learns why; and a
node that has crashed drops connections, too, which is why a probe follows every case.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Final, Generic, Literal, TypeVar

from mdiqkd_net.errors import ConfigError


class Verdict(Enum):
    """How a case ended."""

    PASS = "PASS"  # noqa: S105  # a verdict, not a password
    FAIL = "FAIL"  # a MUST is broken
    UNCLEAN = "UNCLEAN"  # refused as it must, but closed otherwise, or with another code
    NON_STRICT = "NON-STRICT"  # a SHOULD is not followed; a FAIL under --strict
    INFO = "INFO"  # the specification leaves it open; the report says what the node does
    UNIMPLEMENTED = "UNIMPLEMENTED"  # the node says that it does not offer this
    INCONCLUSIVE = "INCONCLUSIVE"  # the node did not answer the probe before the case
    SKIP = "SKIP"  # the harness was not given what the case needs


FAILING: Final = (Verdict.FAIL, Verdict.UNCLEAN, Verdict.INCONCLUSIVE)
"""With one of these in a report, the node has not shown that it conforms."""


class Close(Enum):
    """How a refused link ended."""

    NOT_JUDGED = "not judged"
    CLEAN = "clean"
    WRONG_CODE = "another code"
    NO_ERROR = "closed without Error"
    LEFT_OPEN = "left open after Error"


Level = Literal["MUST", "SHOULD", "INFO"]
Layer = Literal["L1", "L2", "L3"]
LAYERS: Final[tuple[Layer, ...]] = ("L1", "L2", "L3")
"""L1 wire, L2 protocol, L3 a hostile or broken counterpart."""


class Broken(Exception):  # noqa: N818  # a finding about the node, not a fault of the harness
    """The node does not do what the case asks for."""


class Skipped(Exception):  # noqa: N818
    """The case cannot be run here; says why."""


class Unimplemented(Exception):  # noqa: N818
    """The node says that it does not offer what the case is about."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a case found.

    Attributes:
        close: How the node closed the link that it was to refuse.
        found: In words, for the report; may be empty.
    """

    close: Close = Close.NOT_JUDGED
    found: str = ""


H = TypeVar("H")
Run = Callable[[H], Awaitable[Ending | None]]


@dataclass(frozen=True, slots=True)
class Case(Generic[H]):
    """One numbered case.

    Attributes:
        id: Stable: a number is never given to another case.
        area: What it belongs to, in words.
        clauses: Of the specification.
        level: What the clause demands.
        layer: How much of the protocol must work before the case means anything.
        text: What is expected, one sentence.
        needs: What the harness must have been given.
        run: Plays it; raises `Broken`, `Skipped` or `Unimplemented`.
    """

    id: str
    area: str
    clauses: tuple[str, ...]
    level: Level
    layer: Layer
    text: str
    needs: tuple[str, ...]
    run: Run[H]


class Area(Generic[H]):
    """Cases about one subject, numbered as they are written down."""

    def __init__(self, prefix: str, title: str, layer: Layer) -> None:
        self.prefix = prefix
        self.title = title
        self.layer = layer
        self.cases: list[Case[H]] = []

    def case(
        self,
        number: int,
        text: str,
        *clauses: str,
        level: Level = "MUST",
        needs: Iterable[str] = (),
    ) -> Callable[[Run[H]], Run[H]]:
        """Register the decorated function as a case."""

        def register(run: Run[H]) -> Run[H]:
            self.add(number, text, clauses, run, level=level, needs=needs)
            return run

        return register

    def add(
        self,
        number: int,
        text: str,
        clauses: Iterable[str],
        run: Run[H],
        *,
        level: Level = "MUST",
        needs: Iterable[str] = (),
    ) -> None:
        """Register a case that a table describes."""
        name = f"{self.prefix}-{number:02}"
        if any(case.id == name for case in self.cases):
            raise ValueError(f"case {name} is there already")
        self.cases.append(
            Case(name, self.title, tuple(clauses), level, self.layer, text, tuple(needs), run)
        )


def select(
    cases: Iterable[Case[Any]], patterns: Iterable[str] = (), layer: Layer = "L3"
) -> list[Case[Any]]:
    """The cases whose ids fit one of `patterns` (all, without patterns), up to `layer`.

    Raises:
        ConfigError: A pattern fits no case.
    """
    everything = list(cases)
    wanted = list(patterns)
    for pattern in wanted:
        if not any(fnmatchcase(case.id, pattern) for case in everything):
            raise ConfigError(
                f"--select: found {pattern!r}; allowed: ids and patterns such as "
                f"{everything[0].id} or {everything[0].id[:-2]}*; see --list"
            )
    return [
        case
        for case in everything
        if (not wanted or any(fnmatchcase(case.id, pattern) for pattern in wanted))
        and LAYERS.index(case.layer) <= LAYERS.index(layer)
    ]
