"""The specification and what holds it: duties have ids and tests, and pages are up to date."""

import re
import tomllib
from pathlib import Path

import pytest

from mdiqkd_net.specification import REQUIREMENTS, pages

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/spec/index.md").read_text(encoding="utf-8")
ROWS = tomllib.loads((ROOT / "docs/spec" / REQUIREMENTS).read_text(encoding="utf-8"))["requirement"]
DUTY = re.compile(r"\b(MUST|SHOULD|MAY)\b")


def duties():
    """Clause and sentence of everything in the text that is a duty, in its order."""
    found = []
    for line in TEXT.splitlines():
        clause = re.match(r"(\d+\.\d+) (.*)", line)
        if clause:
            sentences = re.split(r"(?<=[.:;]) |(?<=\.\*\*) ", clause[2])
            found += [(clause[1], sentence) for sentence in sentences if DUTY.search(sentence)]
    return found


def test_every_duty_is_a_requirement_word_for_word():
    assert [(row["clause"], row["text"]) for row in ROWS] == duties()


def test_ids_are_unique_and_levels_are_those_of_the_text():
    ids = [row["id"] for row in ROWS]
    assert len(set(ids)) == len(ids)
    for row in ROWS:
        assert re.fullmatch(r"REQ-[A-Z]-\d\d", row["id"])
        words = DUTY.findall(row["text"])
        assert row["level"] == ("MUST" if "MUST" in words else words[0])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_every_requirement_has_tests_that_exist(row):
    assert row["tests"]
    for test in row["tests"]:
        path, _, name = test.partition("::")
        source = (ROOT / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), test


@pytest.mark.parametrize("name", pages(ROOT / "docs/spec"))
def test_a_generated_page_is_what_the_tables_say(name):
    made = pages(ROOT / "docs/spec")[name]
    assert (ROOT / "docs/spec" / name).read_text(encoding="utf-8") == made


def test_the_states_page_has_every_cell():
    from mdiqkd_net.protocol.commit import COMMIT_MOVES
    from mdiqkd_net.protocol.states import MOVES

    page = pages(ROOT / "docs/spec")["states.md"]
    n_rows = sum(line.startswith("| ") for line in page.splitlines())
    assert n_rows > sum(map(len, MOVES.values())) + sum(map(len, COMMIT_MOVES.values()))
