"""The registry, the specification and the reference page speak of the same cases and clauses."""

import re
from pathlib import Path

from mdiqkd_net.conformance.endpoint import ENDPOINT_CASES
from mdiqkd_net.conformance.reference import markdown
from mdiqkd_net.conformance.relay import RELAY_CASES

CASES = (*RELAY_CASES, *ENDPOINT_CASES)
DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_page_lists_the_registry():
    page = (DOCS / "reference" / "conformance.md").read_text()
    assert page.endswith(markdown(CASES))


def test_ids_are_unique_and_say_role_and_area():
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"CT-(RL|EP)-[A-Z]-\d\d", name) for name in ids)


def test_every_clause_exists():
    spec = (DOCS / "spec" / "index.md").read_text()
    there = set(re.findall(r"^(\d+\.\d+) ", spec, re.M)) | set(
        re.findall(r"^## (\d+)\.", spec, re.M)
    )
    for case in CASES:
        assert case.clauses
        assert set(case.clauses) <= there, case.id
