"""The table of all cases, as docs/reference/conformance.md shows it."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from mdiqkd_net.conformance.cases import Case


def markdown(cases: Iterable[Case[Any]]) -> str:
    """A table for each area, in the order of the registry."""
    parts: list[str] = []
    for area, members in groupby(cases, key=lambda case: (case.id.rpartition("-")[0], case.area)):
        rows = "".join(
            f"| {case.id} | {case.layer} | {case.level} | {', '.join(case.clauses)} "
            f"| {case.text} | {', '.join(case.needs) or '-'} |\n"
            for case in members
        )
        parts.append(
            f"## {area[0]}: {area[1]}\n\n"
            "| case | layer | level | spec | expected | needs |\n|---|---|---|---|---|---|\n"
            f"{rows}"
        )
    return "\n".join(parts)
