"""The registry as the table of the manual."""

from typing import Final

from mdiqkd_net.byzantine import BEHAVIOURS, ELSEWHERE, Conduct

WORDS: Final = {
    "violation": "refused",
    "abort": "aborted",
    "rate": "rate",
    "log": "shown",
}

HEAD: Final = (
    '| case | `relay = "byzantine:..."` | the relay | the users find | outcome |\n'
    "|---|---|---|---|---|\n"
)


def markdown() -> str:
    """The table of docs/explanation/hostile-relay.md, ending in a newline."""
    rows = [(conduct.case, _row(name, conduct)) for name, conduct in BEHAVIOURS.items()]
    rows += [(case, f"| {case} | | | {why} | |\n") for case, why in ELSEWHERE.items()]
    return HEAD + "".join(row for _, row in sorted(rows, key=lambda row: row[0]))


def _row(name: str, conduct: Conduct) -> str:
    outcome = ", ".join(WORDS[word] for word in conduct.outcome)
    code = "" if conduct.code is None else f" ({conduct.code:#06x})"
    return f"| {conduct.case} | `{name}` | {conduct.does} | {conduct.found} | {outcome}{code} |\n"
