"""TOML that no file should hold is refused like any other."""

import pytest
from msgspec import Struct

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.structs import parse_toml


class Anything(Struct):
    a: float = 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000, "not TOML: nested too deep"),
        ("a = " + "{a=" * 5000, "not TOML: nested too deep"),
        ("[" + "a." * 5000 + "a]", "not TOML: nested too deep"),
        ("a = " + "9" * 5000, "not TOML: Exceeds the limit"),
        ("a = 1" + "0" * 400, "a: Number out of range"),
        ("a = \ud800", "not TOML"),
    ],
    ids=["lists", "tables", "names", "digits", "past a float", "half a surrogate pair"],
)
def test_a_hostile_file_is_refused_on_one_line(text, words):
    with pytest.raises(ConfigError, match=f"file: {words}") as refused:
        parse_toml(text, Anything, "file")
    assert "\n" not in str(refused.value)
