"""As much of JSON Schema (draft 2020-12) as schema.json uses; any other word is an error."""

import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
WORDS = {
    "$schema", "$id", "$defs", "$ref", "title", "description", "type", "const", "enum", "pattern",
    "properties", "required", "additionalProperties", "items", "minItems", "minimum", "anyOf",
    "if", "then", "else", "minProperties", "maxProperties",
}  # fmt: skip


def errors(value, schema, root, where="$"):
    """What is wrong with the value, as text."""
    assert schema.keys() <= WORDS, schema.keys() - WORDS
    if "$ref" in schema:
        target = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return errors(value, target, root, where)
    found = []
    if "type" in schema:
        fits = isinstance(value, TYPES[schema["type"]])
        if not fits or (schema["type"] == "integer" and isinstance(value, bool)):
            return [f"{where}: no {schema['type']}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: none of {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {value!r} does not match")
    if value.__class__ is int and value < schema.get("minimum", value):
        found.append(f"{where}: {value} is too small")
    if isinstance(value, list):
        found += [f"{where}: too short"] * (len(value) < schema.get("minItems", 0))
        for i, item in enumerate(value):
            found += errors(item, schema.get("items", {}), root, f"{where}[{i}]")
    if isinstance(value, dict):
        found += _object(value, schema, root, where)
    if "anyOf" in schema and all(errors(value, one, root, where) for one in schema["anyOf"]):
        found.append(f"{where}: fits no alternative")
    if "if" in schema:
        branch = "else" if errors(value, schema["if"], root, where) else "then"
        found += errors(value, schema.get(branch, {}), root, where)
    return found


def _object(value, schema, root, where):
    known = schema.get("properties", {})
    found = [f"{where}: no {name}" for name in schema.get("required", ()) if name not in value]
    rest = schema.get("additionalProperties", {})
    for name, item in value.items():
        if name in known:
            found += errors(item, known[name], root, f"{where}.{name}")
        elif rest is False:
            found.append(f"{where}: unknown {name}")
        else:
            found += errors(item, rest, root, f"{where}.{name}")
    least, most = schema.get("minProperties", 0), schema.get("maxProperties", len(value))
    return found + [f"{where}: {len(value)} properties"] * (not least <= len(value) <= most)
