"""What the specification says of each case, worked out without the package."""

import hashlib
import struct
import uuid

from independent import recorded
from independent.arithmetic import bits_high_first, packed_high_first, poly1305, signed
from independent.arrays import items_of, pulses_of, ranked_of
from independent.messagepack import read, write
from independent.refusal import (
    FAILED_CHECK,
    HEADER,
    ILLEGAL,
    NOT_CANONICAL,
    SEQUENCE,
    SIZE,
    UNKNOWN,
    RefusalError,
    refuse,
)
from independent.schema import MESSAGES, check_fields, message_of


def octets(told):
    """Bytes from the notation of the files."""
    if isinstance(told, str):
        return bytes.fromhex(told)
    return b"".join(
        bytes.fromhex(part) if isinstance(part, str) else bytes.fromhex(part["hex"]) * part["times"]
        for part in told
    )


def plain(told):
    """A builtin from the typed notation of the files."""
    ((kind, value),) = ((k, v) for k, v in told.items() if k != "times")
    match kind:
        case "int":
            return int(value)
        case "bin":
            return octets(value)
        case "list":
            return [plain(item) for item in value] * told.get("times", 1)
        case "map":
            return {key: plain(item) for key, item in value.items()}
    return value


def decode(kind, body):
    """The fields of a body (spec 3.1, 3.2)."""
    name, _, fields = message_of(kind)
    found = check_fields(read(body), fields, name)
    refuse(write(found) == body, NOT_CANONICAL, "another encoding")
    return found


def frames(given, expected):
    stream = octets(given["octets"])
    found, skipped, at = [], 0, 0
    while len(stream) - at >= 24:
        length, kind, version, flags, number, seq, ack = struct.unpack(
            ">IHBBQII", stream[at : at + 24]
        )
        refuse(version == 1 and flags == 0, HEADER, "version or flags")
        refuse(kind in MESSAGES or kind < 0x8000, UNKNOWN, "type")
        cap = MESSAGES[kind][1] if kind in MESSAGES else 1 << 16
        refuse(length <= cap, SIZE, "too long")
        if len(stream) < at + 24 + length:
            break
        if kind in MESSAGES:
            fields = decode(kind, stream[at + 24 : at + 24 + length])
            found.append((kind, MESSAGES[kind][0], number, seq, ack, fields))
        else:
            skipped += 1
        at += 24 + length
    if expected:
        told = [
            (int(f["type"], 16), f["name"], int(f["stream"]), f["seq"], f["ack"],
             plain({"map": f["fields"]}))
            for f in expected["frames"]
        ]  # fmt: skip
        assert told == found
    return {"frames": expected.get("frames"), "skipped": skipped, "rest": len(stream) - at}


def sequences(given, expected):
    sent, received, answers = {}, {}, []
    for step in given["steps"]:
        if "send" in step:
            stream = step["send"]
            answers.append({"seq": sent.get(stream, 0), "ack": received.get(stream, 0)})
            sent[stream] = sent.get(stream, 0) + 1
        else:
            header = step["receive"]
            stream = header["stream"]
            refuse(header["seq"] == received.get(stream, 0), SEQUENCE, "SEQ")
            refuse(header["ack"] <= sent.get(stream, 0), SEQUENCE, "ACK")
            received[stream] = header["seq"] + 1
    return {"sent": answers}


def bulk_arrays(given, expected):
    if given["kind"] == "ranked":
        ranks = [(rank["k"], rank["n"], octets(rank["v"])) for rank in given["ranks"]]
        found = ranked_of(given["n"], ranks, octets(given["symbols"]))
        return {"items": [str(item) for item in found]}
    v = octets(given["v"])
    if given["kind"] == "bulk":
        found = items_of(given["n"], given["t"], v)
    else:
        found = pulses_of(given["k"], given["n"], v, int(given["base"]), int(given["end"]))
    return {"items": [str(item) for item in found]}


def ids(given, expected):
    match given["of"]:
        case "pair":
            return {"hex": _pair(given["users"]).hex()}
        case "session":
            text = b"mdiqkd1 session\0" + _u64(given["n_pulses"]) + _u64(given["pulse_rate_hz"])
            text += _u64(given["segment_pulses"]) + octets(given["relay_key"])
            text += octets(given["session"]) + "\0".join(given["users"]).encode()
            return {"hex": hashlib.sha256(text).hexdigest()}
        case "block":
            text = b"mdiqkd1 block\0" + _pair(given["users"]) + octets(given["session"])
            text += _u64(given["block"]) + octets(given["gate_c"]) + octets(given["gate_p"])
            return {"hex": hashlib.sha256(text).hexdigest()[:32]}
        case "key":
            text = b"mdiqkd1 keyid" + octets(given["block_id"])
            text += struct.pack(">II", given["index"], given["size_bits"])
            name = bytearray(hashlib.sha256(text).digest()[:16])
            name[6] = name[6] & 0x0F | 0x80
            name[8] = name[8] & 0x3F | 0x80
            return {"uuid": str(uuid.UUID(bytes=bytes(name)))}


def _pair(users):
    return hashlib.sha256("\0".join(["mdiqkd1 pair", *users]).encode()).digest()[:16]


def _u64(number):
    return int(number).to_bytes(8, "big")


def announcements(given, expected):
    n_pulses, size = int(given["n_pulses"]), int(given["segment_pulses"])
    relay_key, session = octets(given["relay_key"]), octets(given["session"])
    chain = hashlib.sha256(b"mdiqkd1 announcements\0" + session).digest()
    at, batches, closed, events = (0, 0), 0, False, []
    for message in given["messages"]:
        m = decode(int(message["type"], 16), octets(message["body"]))
        refuse(not closed, ILLEGAL, "after the close")
        if "batches" in m:
            refuse((m["batches"], m["count"]) == (batches, len(events)), ILLEGAL, "counts")
            refuse(at[0] * size + at[1] == n_pulses, ILLEGAL, "not covered")
            last = b"mdiqkd1 close\0" + chain + _u64(m["batches"]) + _u64(m["count"])
            good = signed(relay_key, hashlib.sha256(last).digest(), m["signature"])
            refuse(good, ILLEGAL, "signature")
            closed = True
            continue
        if at[1] == size and m["segment"] == at[0] + 1:
            at = (at[0] + 1, 0)
        end = min(size, n_pulses - at[0] * size)
        place = (m["batch"], m["segment"], m["base"])
        refuse(place == (batches, *at) and at[1] <= m["covered"] <= end, ILLEGAL, "a gap")
        pulses, outcomes = m["pulses"], m["outcomes"]
        refuse(pulses["n"] == outcomes["n"], ILLEGAL, "numbers differ")
        where = pulses_of(pulses["k"], pulses["n"], pulses["v"], m["base"], m["covered"])
        which = items_of(outcomes["n"], outcomes["t"], outcomes["v"])
        numbers = (m["segment"], m["batch"], m["base"], m["covered"], pulses["k"], pulses["n"],
                   len(pulses["v"]), outcomes["n"], len(outcomes["v"]))  # fmt: skip
        link = b"mdiqkd1 batch\0" + chain + b"".join(map(_u64, numbers))
        chain = hashlib.sha256(link + pulses["v"] + outcomes["v"]).digest()
        refuse(signed(relay_key, chain, m["signature"]), ILLEGAL, "signature")
        events += [[at[0], pulse, state] for pulse, state in zip(where, which, strict=True)]
        at, batches = (at[0], m["covered"]), batches + 1
    return {"events": events}


def gate(given, expected):
    key = octets(given["hash_key"])
    listed = [octets(body) for body in given["bodies"]]
    text = b"".join(len(body).to_bytes(8, "little") + body for body in listed)
    same = poly1305(key[:16], key[16:], text) == octets(given["digest"])
    refuse(same, FAILED_CHECK, "lists differ")
    return {}


def tag(given, expected):
    context = b"mdiqkd1 tag\0" + given["type"].to_bytes(2, "little")
    context += bytes([given["by_coordinator"]]) + octets(given["pair_id"])
    context += octets(given["block_id"]) + int(given["key_bits"]).to_bytes(8, "little")
    context += int(given["pad_index"]).to_bytes(8, "little")
    forth = octets(given["forth"]) + context + len(context).to_bytes(8, "little")
    back = octets(given["back"]) + bytes(8)
    hashes = (poly1305(octets(given["r1"]), bytes(16), forth),
              poly1305(octets(given["r2"]), bytes(16), back), octets(given["pad"]))  # fmt: skip
    total = sum(int.from_bytes(part, "little") for part in hashes) % 2**128
    refuse(total.to_bytes(16, "little") == octets(given["tag"]), FAILED_CHECK, "tag")
    return {}


def verify_hash(given, expected):
    bits = bits_high_first(octets(given["bits"]), given["n"])
    text = given["n"].to_bytes(8, "big") + packed_high_first(bits)
    same = poly1305(octets(given["r"]), bytes(16), text) == octets(given["digest"])
    refuse(same, FAILED_CHECK, "keys differ")
    return {}


def pa_toeplitz(given, expected):
    n, m = given["n_in"], given["n_out"]
    x, seed = (bits_high_first(octets(given[key]), size) for key, size in
               (("key", n), ("seed", n - 1)))  # fmt: skip
    ones = [j for j in range(n - m) if x[m + j]]
    y = [(x[i] + sum(seed[i - j + n - m - 1] for j in ones)) % 2 for i in range(m)]
    return {"hex": packed_high_first(y).hex()}


def reconcile(given, expected):
    """Payloads are a scheme's own. What can be said of any: errors, and that none leaks more."""
    alice, bob = (bits_high_first(octets(given[key]), given["n"]) for key in ("alice", "bob"))
    wrong = sum(a != b for a, b in zip(alice, bob, strict=True))
    assert expected["leak_bits"] > 0
    assert expected["payloads"] > 0
    return {**expected, "corrected": wrong}


def sessions(given, expected):
    return recorded.outcome(given, octets, decode, JUDGES)


JUDGES = {
    "frames_valid": frames,
    "frames_invalid": frames,
    "sequences": sequences,
    "bulk_arrays": bulk_arrays,
    "ids": ids,
    "announcements": announcements,
    "gate": gate,
    "tag": tag,
    "verify_hash": verify_hash,
    "pa_toeplitz": pa_toeplitz,
    "reconcile": reconcile,
    "sessions": sessions,
}


def judge(name, case):
    """Raise unless the case of that file says what the specification does."""
    outcome = _outcome(name, case)
    if isinstance(outcome, str):
        assert (case["result"], case.get("code")) == ("invalid", outcome)
    else:
        assert case["result"] == "valid", "accepted; the file says invalid"
        assert case["expected"] == outcome


def _outcome(name, case):
    try:
        return JUDGES[name](case["input"], case["expected"])
    except RefusalError as refusal:
        return f"{refusal.code:#06x}"
