"""The messages as docs/spec/messages.md tells them, and nothing from the code."""

import re
from pathlib import Path

from independent.messagepack import Map
from independent.refusal import SCHEMA, RefusalError, refuse

TEXT = (Path(__file__).parents[2] / "docs/spec/messages.md").read_text(encoding="utf-8")
NODE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NUMBERS = {
    "natural": (0, 2**63 - 1),
    "u16": (0, 2**16 - 1),
    "nano": (0, 100 * 10**9),
    "share": (0, 10**9),
}


def _rows(section):
    lines = TEXT.split(f"## {section}\n")[1].split("\n## ")[0].splitlines()
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return table[1:]


def _fields(text):
    return dict(field.split(": ", 1) for field in text.split("; "))


MESSAGES = {
    int(kind, 16): (name, int(cap), _fields(fields)) for kind, name, cap, fields in _rows("Types")
}
PARTS = {name: _fields(fields) for name, fields in _rows("Parts")}


def check_fields(value, fields, where):
    """The value as builtins, if it is a map of exactly these fields."""
    refuse(isinstance(value, Map), SCHEMA, f"{where}: no map")
    found = {}
    for key, item in value.pairs:
        refuse(isinstance(key, str) and key in fields, SCHEMA, f"{where}: unknown {key!r}")
        found[key] = check(item, fields[key], f"{where}.{key}")
    refuse(set(found) == set(fields), SCHEMA, f"{where}: a field is missing")
    return found


def check(value, kind, where):
    """The value as builtins, if it is of this kind."""
    word, _, rest = kind.partition(" ")
    if word in NUMBERS or word == "int":
        low, high = NUMBERS.get(word) or _span(rest)
        refuse(type(value) is int and low <= value <= high, SCHEMA, f"{where}: {value!r}")
        return value
    match word:
        case "bool":
            refuse(type(value) is bool, SCHEMA, f"{where}: {value!r}")
        case "node":
            refuse(isinstance(value, str) and NODE.fullmatch(value), SCHEMA, f"{where}: {value!r}")
        case "text":
            low, high = _span(rest)
            fits = isinstance(value, str) and low <= len(value) <= high
            refuse(fits, SCHEMA, f"{where}: {value!r}")
        case "one":
            allowed = rest.removeprefix("of ").split()
            refuse(isinstance(value, str) and value in allowed, SCHEMA, f"{where}: {value!r}")
        case "bytes":
            low, high = _span(rest) if rest else (0, 2**32)
            fits = isinstance(value, bytes) and low <= len(value) <= high
            refuse(fits, SCHEMA, f"{where}: no such bytes")
        case "list":
            count, _, item = rest.partition(" of ")
            low, high = _span(count)
            fits = isinstance(value, list) and low <= len(value) <= high
            refuse(fits, SCHEMA, f"{where}: no such list")
            return [check(one, item, f"{where}[]") for one in value]
        case _ if word in PARTS:
            return check_fields(value, PARTS[word], where)
        case _:
            raise LookupError(f"{where}: messages.md does not say what {kind!r} is")
    return value


def _span(text):
    low, _, high = text.partition("..")
    return int(low), int(high or low)


def message_of(kind):
    """Name, cap and fields of a message; refuses a type that is not in the table."""
    if kind not in MESSAGES:
        raise RefusalError(SCHEMA, f"type {kind:#06x}")
    return MESSAGES[kind]
