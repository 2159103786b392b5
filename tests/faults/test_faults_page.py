"""docs/explanation/faults.md names every row of the fault table, and tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/faults.md").read_text(encoding="utf-8")
NUMBERS = [*range(1, 15), 16, 17, 18, 20, 22]
ROWS = [line for line in PAGE.splitlines() if line.startswith("| CHAOS-")]


def test_every_row_is_there_once():
    assert [row.split()[1] for row in ROWS] == [f"CHAOS-{number:02}" for number in NUMBERS]


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(tests/\S+?\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > len(ROWS)
    assert all("`tests/" in row for row in ROWS)
    for path, name in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), name
