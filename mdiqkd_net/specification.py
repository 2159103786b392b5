"""The generated pages of the specification, from the tables that the cores run on.

`python -m mdiqkd_net.specification [DIR]` writes them into `docs/spec`.
"""

import sys
import tomllib
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from mdiqkd_net.protocol.commit import COMMIT_MOVES, OFFERED, Phase, Said
from mdiqkd_net.protocol.handout import (
    HOLDER_MOVES,
    OWNER_MOVES,
    HandoutMove,
    HandoutSays,
    Holder,
    HolderHears,
    Owner,
    OwnerHears,
)
from mdiqkd_net.protocol.states import MOVES, PAIR_MESSAGES, RELAY_MOVES, Role, State

REQUIREMENTS: Final = "requirements.toml"
_WRITTEN_BY: Final = "This page is made by `python -m mdiqkd_net.specification`; do not edit it.\n"


def pages(directory: Path) -> dict[str, str]:
    """Every generated page of the specification in `directory`, by file name."""
    text = (directory / REQUIREMENTS).read_text(encoding="utf-8")
    return {
        "states.md": states_page(),
        "requirements.md": requirements_page(tomllib.loads(text)["requirement"]),
    }


def states_page() -> str:
    """Diagrams and tables of all legal moves."""
    parts = [
        "# Legal moves\n",
        _WRITTEN_BY,
        "What is not in a table is refused, and a refused message changes nothing "
        "([the protocol](index.md), 5, 6, 7 and 13).\n",
    ]
    for role in Role:
        parts.append(f"## A block at the {role.value}\n")
        moves = [
            (at, kind.__name__, after)
            for (at, kind), targets in MOVES[role].items()
            for after in sorted(targets, key=_order)
        ]
        parts.append(_diagram(State.OPENING, moves))
        rows = (
            (at.value, kind.__name__, ", ".join(t.value for t in sorted(targets, key=_order)))
            for (at, kind), targets in MOVES[role].items()
        )
        parts.append(_table(("state", "message", "may lead to"), rows))
        names = ", ".join(sorted(kind.__name__ for kind in PAIR_MESSAGES[role]))
        parts.append(f"On stream 0, in any state: {names}.\n")
    for role in Role:
        parts.append(f"## A commit at the {role.value}\n")
        commits = COMMIT_MOVES[role]
        changes = [
            (at, heard.value, move.phase)
            for (at, heard), move in commits.items()
            if move.phase is not at and at is not None and move.phase is not None
        ]
        parts.append(_diagram(Phase.PREPARED, changes))
        parts.append(f"Keys are handed out in the phase {OFFERED[role].value}.\n")
        cells = (
            (
                at.value if at else "no record",
                heard.value,
                move.phase.value if move.phase else "no record",
                "" if move.says is Said.NOTHING else move.says.value,
            )
            for (at, heard), move in commits.items()
        )
        parts.append(_table(("phase", "hears", "next phase", "says"), cells))
    parts.append("## A hand-out of keys\n")
    for name, table in (("owner", OWNER_MOVES), ("holder", HOLDER_MOVES)):
        parts.append(f"### A request at the {name}\n")
        parts.append(_table(("phase", "hears", "next phase", "says"), _handouts(table)))
    parts.append("## A user at the relay\n")
    relay = (
        (at.value, kind.__name__, ", ".join(sorted(t.value for t in targets)))
        for (at, kind), targets in RELAY_MOVES.items()
    )
    parts.append(_table(("state", "message", "may lead to"), relay))
    return "\n".join(parts)


def _handouts(
    moves: Mapping[tuple[Owner | None, OwnerHears], HandoutMove]
    | Mapping[tuple[Holder | None, HolderHears], HandoutMove],
) -> Iterable[tuple[str, ...]]:
    for (at, heard), move in moves.items():
        says = [] if move.says is HandoutSays.NOTHING else [move.says.value]
        yield (
            at.value if at else "no record",
            heard.value,
            move.phase.value if move.phase else "no record",
            ", ".join([*says, "alarm"] if move.alarm else says),
        )


def requirements_page(requirements: Iterable[Mapping[str, Any]]) -> str:
    """All requirements with the tests that hold them."""
    rows = (
        (
            row["id"],
            row["clause"],
            row["level"],
            ", ".join(row["roles"]),
            row["text"].replace("|", "\\|"),
            "<br>".join(f"`{test}`" for test in row["tests"]),
        )
        for row in requirements
    )
    head = f"# Requirements\n\n{_WRITTEN_BY}\nThe source is [{REQUIREMENTS}]({REQUIREMENTS}).\n\n"
    return head + _table(("id", "clause", "level", "roles", "text", "held by"), rows)


def _diagram(start: Enum, moves: Iterable[tuple[Enum, str, Enum]]) -> str:
    between: dict[tuple[Enum, Enum], list[str]] = {}
    for at, message, after in moves:
        between.setdefault((at, after), []).append(message)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_name(start)}"]
    lines += [
        f"    {_name(at)} --> {_name(after)}: {', '.join(messages)}"
        for (at, after), messages in between.items()
    ]
    return "\n".join([*lines, "```", ""])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, ""])


def _name(state: Enum) -> str:
    return str(state.value).replace(" ", "_")


def _order(state: State) -> int:
    return list(State).index(state)


def main(arguments: list[str]) -> int:
    """Write the pages; returns an exit code."""
    directory = Path(arguments[0]) if arguments else Path("docs/spec")
    for name, text in pages(directory).items():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
