"""Whole recorded sessions: their links, their stages, and the key that both users must have.

Nothing is believed that can be worked out: what a user says of itself is held against the states
that the case gives, and the key is made anew from these.
"""

import struct

from independent.arithmetic import packed_high_first
from independent.arrays import items_of, ranked_of
from independent.refusal import FAILED_CHECK, HEADER, ILLEGAL, SEQUENCE, refuse
from independent.schema import MESSAGES

KEY_BITS = 256
TAGGED = {"Prepare": 0x8601, "Vote": 0x8602, "Commit": 0x8603, "Committed": 0x8604}


class Frames:
    """All frames of a case, decoded."""

    def __init__(self, told, octets, decode):
        self.all = []
        for frame in told:
            raw = octets(frame["octets"])
            length, kind, version, flags, stream, seq, ack = struct.unpack(">IHBBQII", raw[:24])
            refuse((version, flags, length) == (1, 0, len(raw) - 24), HEADER, "header")
            fields = decode(kind, raw[24:])
            numbers = (stream, seq, ack)
            self.all.append((frame["from"], frame["to"], MESSAGES[kind][0], numbers, fields, raw))

    def of(self, name, sender=None, receiver=None):
        """Fields of the messages of a name, by who has sent or received them."""
        found = []
        for one, other, kind, _, fields, _ in self.all:
            if kind == name and sender in (one, None) and receiver in (other, None):
                found.append(fields)
        return found

    def one(self, name, sender=None, receiver=None):
        (found,) = self.of(name, sender, receiver)
        return found

    def block(self, sender, receiver):
        """Raw frames of the block before `Prepare`, in one direction."""
        end = [name for _, _, name, *_ in self.all].index("Prepare")
        return b"".join(raw for one, other, _, (stream, *_), _, raw in self.all[:end]
                        if (one, other) == (sender, receiver) and stream)  # fmt: skip

    def check_numbers(self, user, script):
        """`Hello` first, SEQ without a gap, ACK what had come by then (spec 2.2, 2.4, 4.3)."""
        sent, received = {}, {}
        for number in script:
            sender, receiver, name, (stream, seq, ack), *_ = self.all[number]
            ours = sender == user
            place = (receiver if ours else sender, stream)
            counts, others = (sent, received) if ours else (received, sent)
            refuse(seq == counts.get(place, 0), SEQUENCE, f"SEQ of frame {number}")
            counts[place] = seq + 1
            seen = others.get(place, 0)
            refuse(ack == seen if ours else ack <= seen, SEQUENCE, f"ACK of frame {number}")
            first = (stream, seq) == (0, 0)
            refuse(first == (name == "Hello"), ILLEGAL, "Hello is the first frame of a link")


def outcome(given, octets, decode, judges):
    """What is expected of a case; `judges` are those of the other files, for the parts."""
    users = given["users"]
    low, high = pair = sorted(users)
    frames = Frames(given["frames"], octets, decode)
    for user, told in users.items():
        frames.check_numbers(user, told["script"])
    ready = frames.one("PairReady", receiver=low)
    refuse(frames.one("PairReady", receiver=high) == ready, FAILED_CHECK, "two sessions")
    _agreement(frames, given, pair, ready, judges)
    events = [_announced(frames, user, ready, judges) for user in pair]
    refuse(events[0] == events[1], FAILED_CHECK, "two lists")
    _gates(frames, pair, judges)
    states = [[int(digit) for digit in users[user]["states"]] for user in pair]
    _sifted(frames, pair, states, len(events[0]))
    aborted = frames.of("BlockAborted")
    if aborted:
        return {"code": f"{aborted[0]['code']:#06x}"}
    key = _key(frames, states, judges)
    gates = [frames.one("Gate", sender=user)["hash_key"].hex() for user in pair]
    of_block = {"of": "block", "users": pair, "session": ready["session"].hex(),
                "block": frames.one("BlockOpen")["block"], "gate_c": gates[0],
                "gate_p": gates[1]}  # fmt: skip
    name = judges["ids"](of_block, {})["hex"]
    bits = frames.one("Prepare")["bits"]
    for kind in TAGGED:
        _tagged(frames, kind, users, pair, name, bits, judges)
    ids = [{"of": "key", "block_id": name, "index": index, "size_bits": KEY_BITS}
           for index in range(bits // KEY_BITS)]  # fmt: skip
    return {
        "block_id": name,
        "bits": str(bits),
        "key": key,
        "key_ids": [judges["ids"](one, {})["uuid"] for one in ids],
    }


def _agreement(frames, given, pair, ready, judges):
    told = {name: value.hex() if isinstance(value, bytes) else value
            for name, value in ready.items()}  # fmt: skip
    digest = bytes.fromhex(judges["ids"]({"of": "session", **told}, {})["hex"])
    proposal = frames.one("BlockOpen", sender=pair[0])
    answer = frames.one("BlockOpened", sender=pair[1])
    for user, message in zip(pair, (proposal, answer), strict=True):
        refuse(message["session_digest"] == digest, FAILED_CHECK, "session_digest")
        source = dict(message["source"])
        source.pop("bounds")
        refuse(source == given["users"][user]["source"], FAILED_CHECK, f"source of {user}")
    for name, value in given["agreement"].items():
        if name in proposal:
            same = str(proposal[name]) == str(value)
            refuse(same, FAILED_CHECK, name)


def _announced(frames, user, ready, judges):
    light = [(name, raw) for _, other, name, _, _, raw in frames.all
             if other == user and name in ("Announcement", "AnnouncementsClosed")]  # fmt: skip
    session = {
        "session": ready["session"].hex(),
        "relay_key": ready["relay_key"].hex(),
        "n_pulses": ready["n_pulses"],
        "segment_pulses": ready["segment_pulses"],
        "messages": [{"type": raw[4:6].hex(), "body": raw[24:].hex()} for _, raw in light],
    }
    refuse(light[-1][0] == "AnnouncementsClosed", ILLEGAL, "no close")
    return judges["announcements"](session, {})["events"]


def _gates(frames, pair, judges):
    bodies = [raw[24:].hex() for _, other, name, _, _, raw in frames.all
              if (other, name) == (pair[0], "Announcement")]  # fmt: skip
    for user in pair:
        gate = frames.one("Gate", sender=user)
        told = {name: gate[name].hex() for name in ("hash_key", "digest")}
        judges["gate"]({"bodies": bodies, **told}, {})


def _sifted(frames, pair, states, n_events):
    settings = [[(state + 1) // 2 for state in ours] for ours in states]
    for user, ours, sent in zip(pair, settings, states, strict=True):
        told = []
        for part in frames.of("Sift", sender=user):
            packed = part["settings"]
            ranks = [(rank["k"], rank["n"], rank["v"]) for rank in packed["ranks"]]
            told += ranked_of(packed["n"], ranks, packed["symbols"])
        refuse(told == ours and len(told) == n_events, FAILED_CHECK, f"settings of {user}")
        test = [(state + 1) % 2 for state, one, other in zip(sent, *settings, strict=True)
                if {one, other} <= {1, 2}]  # fmt: skip
        told = []
        for part in frames.of("EstimationBits", sender=user):
            told += items_of(part["bits"]["n"], part["bits"]["t"], part["bits"]["v"])
        refuse(told == test, FAILED_CHECK, f"test bits of {user}")


def _key(frames, states, judges):
    """The coordinator's bits, as they are verified and amplified; hexadecimal."""
    both = [(a, b) for a, b in zip(*states, strict=True) if a > 4 and b > 4]
    key = [(a + 1) % 2 for a, _ in both]
    wrong = sum((a + b) % 2 == 0 for a, b in both)  # they are anticorrelated, and Bob flips
    refuse(frames.one("Verified") == {"corrected": wrong, "ok": True}, FAILED_CHECK, "errors")
    packed = packed_high_first(key).hex()
    verify = frames.one("Verify")
    hashed = {"r": verify["hash_key"].hex(), "digest": verify["digest"].hex()}
    judges["verify_hash"]({"n": verify["bits"], "bits": packed, **hashed}, {})
    refuse(verify["bits"] == len(key), FAILED_CHECK, "bits")
    seed = b"".join(part["seed"] for part in frames.of("AmplifySeed")).hex()
    n_out = frames.one("Prepare")["bits"]
    sizes = {"n_in": len(key), "n_out": n_out}
    return judges["pa_toeplitz"]({**sizes, "key": packed, "seed": seed}, {})["hex"]


def _tagged(frames, kind, users, pair, name, bits, judges):
    by_coordinator = kind in ("Prepare", "Commit")
    sender, receiver = pair if by_coordinator else pair[::-1]
    message = frames.one(kind, sender=sender)
    refuse(message["block_id"].hex() == name, FAILED_CHECK, f"block of {kind}")
    whole = kind == "Prepare"
    r1, r2 = users[sender]["hash_keys"]
    given = {
        "forth": frames.block(sender, receiver).hex() if whole else "",
        "back": frames.block(receiver, sender).hex() if whole else "",
        "type": TAGGED[kind],
        "by_coordinator": by_coordinator,
        "pair_id": judges["ids"]({"of": "pair", "users": pair}, {})["hex"],
        "block_id": name,
        "key_bits": bits,
        "pad_index": message["pad"],
        "pad": users[sender]["pads"][message["pad"]],
        "r1": r1,
        "r2": r2,
        "tag": message["tag"].hex(),
    }
    judges["tag"](given, {})
