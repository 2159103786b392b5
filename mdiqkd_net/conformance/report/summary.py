"""What a run was about, and what came of it, as plain data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from mdiqkd_net import __version__
from mdiqkd_net.conformance.cases import Verdict
from mdiqkd_net.conformance.runner import Result, conforms

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class About:
    """Of a run: which node, when, and how the harness was called."""

    role: str
    address: str
    started_utc: str
    strict: bool
    time_scale: float
    seed: int


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many cases ended with each verdict that occurs."""
    found = Counter(result.verdict for result in results)
    return {verdict.value: found[verdict] for verdict in Verdict if found[verdict]}


def as_data(about: About, results: Sequence[Result]) -> dict[str, Any]:
    """The whole report; `schema` rises when a reader of the last one could misread it."""
    return {
        "schema": SCHEMA_VERSION,
        "harness": f"mdiqkd-net {__version__}",
        **asdict(about),
        "conforms": conforms(results),
        "counts": counts(results),
        "cases": [_case(result) for result in results],
    }


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "id": case.id,
        "area": case.area,
        "clauses": list(case.clauses),
        "level": case.level,
        "layer": case.layer,
        "text": case.text,
        "verdict": result.verdict.value,
        "behavior": result.behavior.value,
        "close": result.close.value,
        "found": result.found,
        "seconds": round(result.seconds, 4),
        "log": [asdict(entry) for entry in result.log],
    }
