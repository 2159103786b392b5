"""Structs from TOML and to builtins, with errors that name the key.

A file that cannot be used is refused on one line: which key, what was found, what is allowed.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from mdiqkd_net.errors import ConfigError

T = TypeVar("T")


def plain(value: Any) -> Any:
    """A struct as builtins, without what is at its default.

    Unlike `omit_defaults`, which compares numbers by identity, this gives the same for equal
    structs wherever they come from.
    """
    if not isinstance(value, Struct):
        return msgspec.to_builtins(value)
    return {
        field.encode_name: plain(getattr(value, field.name))
        for field in msgspec.structs.fields(value)
        if field.required or getattr(value, field.name) != _default(field)
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def parse_toml(text: str, kind: type[T], origin: str) -> T:
    """Read TOML into a struct, or say which key of `origin` is wrong, and what is allowed.

    Raises:
        ConfigError: "ORIGIN: KEY: found ...; allowed: ..." on one line.
    """
    try:
        raw = tomllib.loads(text)
        _refuse_non_finite(raw, "", origin)
    except ValueError as error:  # of tomllib, or of an integer with thousands of digits
        raise ConfigError(f"{origin}: not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{origin}: not TOML: nested too deep") from None
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(str(error), raw, kind)}") from None


def _refuse_non_finite(value: object, path: str, origin: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{origin}: {path}: found {value}; allowed: a finite number")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_non_finite(item, f"{path}.{key}" if path else str(key), origin)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _refuse_non_finite(item, f"{path}[{i}]", origin)


_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>[^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<key>[^`]*)`$")


def _explain(message: str, raw: Mapping[str, Any], kind: type) -> str:
    match = _AT.match(message)
    what, where = (match["what"], match["path"] or "$") if match else (message, "$")
    path = _name_keys(raw, kind, where.removeprefix("$").removeprefix("."))
    prefix = f"{path}: " if path else ""
    if unknown := _UNKNOWN.match(what):
        fields = _fields_at(kind, path)
        allowed = f"; allowed: {', '.join(fields)}" if fields else ""
        return f"{prefix}found unknown key `{unknown['key']}`{allowed}"
    if missing := _MISSING.match(what):
        return f"{prefix}key `{missing['key']}` is missing"
    if what.startswith("Invalid enum value"):
        return f"{prefix}found {_value_at(raw, path)!r}; allowed: {_literals_at(kind, path)}"
    if what.startswith("Expected"):
        found = _value_at(raw, path)
        allowed = what.removeprefix("Expected ").split(", got")[0].replace("`", "")
        return f"{prefix}found {found!r}; allowed: {allowed}"
    return f"{prefix}{what}"


def _name_keys(raw: Any, kind: Any, path: str) -> str:
    """Say which key of a table is meant where msgspec says `[...]`: the first that is wrong."""
    while (at := path.find("[...]")) >= 0:
        table, info = _value_at(raw, path[:at]), _type_at(kind, path[:at])
        item = info.value_type if isinstance(info, msgspec.inspect.DictType) else None
        if not isinstance(table, dict) or not isinstance(item, msgspec.inspect.StructType):
            break
        for key, value in table.items():
            try:
                msgspec.convert(value, item.cls)
            except msgspec.ValidationError:
                path = f"{path[:at]}.{key}{path[at + len('[...]') :]}"
                break
        else:
            break
    return path


def _steps(path: str) -> list[str | int]:
    return [
        int(i) if i else key for key, i in re.findall(r"([^.\[\]]+)(?![^\[]*\])|\[(\d*)\]", path)
    ]


def _value_at(raw: Any, path: str) -> Any:
    for step in _steps(path):
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            return "nothing"
    return raw


def _fields_at(kind: Any, path: str) -> list[str]:
    info = _type_at(kind, path)
    if isinstance(info, msgspec.inspect.StructType):
        return [f.encode_name for f in info.fields]
    return []


def _literals_at(kind: Any, path: str) -> str:
    info = _type_at(kind, path)
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    values = [v for o in options if isinstance(o, msgspec.inspect.LiteralType) for v in o.values]
    return " or ".join(repr(v) for v in values)


def _type_at(kind: Any, path: str) -> msgspec.inspect.Type | None:
    info: msgspec.inspect.Type = msgspec.inspect.type_info(kind)
    for step in _steps(path):
        if isinstance(info, msgspec.inspect.StructType):
            named = [f.type for f in info.fields if f.encode_name == step]
            if not named:
                return None
            info = named[0]
        elif isinstance(info, msgspec.inspect.DictType):
            info = info.value_type
        elif isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            info = info.item_type
        if isinstance(info, msgspec.inspect.UnionType):
            structs = [t for t in info.types if isinstance(t, msgspec.inspect.StructType)]
            info = structs[0] if structs else info
    return info
