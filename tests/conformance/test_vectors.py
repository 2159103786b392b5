"""The vectors are what the code makes, and what a decoder that does not know the code expects."""

import ast
import json
import re
from pathlib import Path

import pytest
from independent import judge as second
from independent.json_schema import errors
from independent.schema import MESSAGES

from mdiqkd_net.conformance import vectors
from mdiqkd_net.conformance.vectors.__main__ import generate, main
from mdiqkd_net.wire.messages import BY_TYPE

ROOT = Path(__file__).parents[2]
REGENERATE = "run `python -m mdiqkd_net.conformance.vectors`, and look at the difference"


@pytest.fixture(scope="module")
def generated():
    return generate()


@pytest.mark.parametrize("name", vectors.NAMES)
def test_the_files_are_what_the_code_makes(name, generated):
    same = (vectors.FOLDER / f"{name}.json").read_text(encoding="ascii") == generated[name]
    assert same, REGENERATE


def test_there_is_no_other_file():
    files = {path.stem for path in vectors.FOLDER.glob("*.json")}
    assert files == {*vectors.NAMES, "schema"}


@pytest.mark.parametrize("name", vectors.NAMES)
def test_an_independent_decoder_judges_every_case_alike(name):
    wrong = []
    for case in vectors.load(name)["cases"]:
        try:
            second.judge(name, case)
        except AssertionError as why:
            wrong.append(f"{case['tcId']} ({case['comment']}): {why}")
    assert not wrong, "\n".join(wrong[:10])


def test_the_independent_decoder_shares_no_code():
    for path in (ROOT / "tests/independent").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names}
            assert roots <= {"independent", *PLAIN}, f"{path.name} imports {roots}"


PLAIN = {"dataclasses", "hashlib", "pathlib", "re", "struct", "uuid"}


@pytest.mark.parametrize("name", vectors.NAMES)
def test_the_files_have_their_schema(name):
    schema = json.loads((vectors.FOLDER / "schema.json").read_text(encoding="ascii"))
    loaded = vectors.load(name)
    assert errors(loaded, schema, schema) == []
    assert [case["tcId"] for case in loaded["cases"]] == list(range(1, len(loaded["cases"]) + 1))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"cases": []},
        {"more": 1},
        {"cases": [{"tcId": 1}]},
    ],
)
def test_the_schema_refuses(change):
    schema = json.loads((vectors.FOLDER / "schema.json").read_text(encoding="ascii"))
    assert errors({**vectors.load("gate"), **change}, schema, schema)


@pytest.mark.parametrize(
    "change",
    [{"result": "invalid"}, {"code": "0x0101"}, {"tcId": True}, {"clauses": ["x"]}, {"input": {}}],
)
def test_the_schema_refuses_a_case(change):
    schema = json.loads((vectors.FOLDER / "schema.json").read_text(encoding="ascii"))
    loaded = vectors.load("gate")
    case = {**loaded["cases"][0], **change}
    assert errors({**loaded, "cases": [case]}, schema, schema)


def test_every_clause_is_in_the_specification():
    text = (ROOT / "docs/spec/index.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^(\d+\.\d+) ", text, re.MULTILINE))
    named = {c for name in vectors.NAMES for case in vectors.load(name)["cases"]
             for c in case["clauses"]}  # fmt: skip
    assert named <= known


def test_the_specification_tells_every_message():
    told = {kind: (name, cap) for kind, (name, cap, _) in MESSAGES.items()}
    assert told == {kind: (m.__name__, m.CAP) for kind, m in BY_TYPE.items()}


def test_every_message_has_valid_and_invalid_frames():
    for name in ("frames_valid", "frames_invalid"):
        comments = [case["comment"] for case in vectors.load(name)["cases"]]
        for message in BY_TYPE.values():
            assert any(c.startswith(f"{message.__name__}: ") for c in comments)


@pytest.mark.parametrize("name", vectors.NAMES)
def test_the_second_decoder_notices_what_is_wrong(name):
    """A result or a code that is changed in a file does not pass."""
    for case in vectors.load(name)["cases"][:40]:
        if case["result"] == "invalid":
            turned = {**case, "code": "0xffff"}
        elif case["expected"]:
            turned = {**case, "result": "invalid", "code": "0x0104"}
        else:
            turned = {**case, "expected": {"more": 1}}
        with pytest.raises((AssertionError, KeyError)):
            second.judge(name, turned)


def test_the_command_writes_all_files(tmp_path, generated, monkeypatch):
    monkeypatch.setattr("mdiqkd_net.conformance.vectors.__main__.generate", lambda: generated)
    assert main([str(tmp_path / "new")]) == 0
    assert {path.stem for path in (tmp_path / "new").iterdir()} == set(vectors.NAMES)
