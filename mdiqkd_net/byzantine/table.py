"""The registry as the table of the manual."""

from collections.abc import Mapping
from typing import Final

from mdiqkd_net.byzantine.conduct import Conduct, Outcome
from mdiqkd_net.byzantine.registry import BEHAVIOURS, ELSEWHERE

WORDS: Final[Mapping[Outcome, str]] = {
    "violation": "refused",
    "abort": "aborted",
    "rate": "rate",
}

HEAD: Final = (
    '| case | `relay = "byzantine:..."` | the relay | the users find | outcome '
    "| shown by | test |\n"
    "|---|---|---|---|---|---|---|\n"
)


def markdown() -> str:
    """The table of docs/explanation/hostile-relay.md, ending in a newline."""
    rows = [(conduct.case, _row(name, conduct)) for name, conduct in BEHAVIOURS.items()]
    rows += [
        (case, f"| {case} | | | {why} | | | {_code(test)} |\n")
        for case, (why, test) in ELSEWHERE.items()
    ]
    return HEAD + "".join(row for _, row in sorted(rows, key=lambda row: row[0]))


def _row(name: str, conduct: Conduct) -> str:
    code = "" if conduct.code is None else f" ({conduct.code:#06x})"
    cells = (
        conduct.case,
        _code(name),
        conduct.does,
        conduct.found,
        WORDS[conduct.outcome] + code,
        ", ".join(conduct.monitors),
        _code(conduct.test),
    )
    return f"| {' | '.join(cells)} |\n"


def _code(name: str) -> str:
    return f"`{name}`" if name else ""
