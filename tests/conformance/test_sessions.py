"""Recorded sessions: a core that is fed one side of a recording says the other, byte for byte."""

import copy
from collections import deque

import pytest
from independent.judge import judge, octets

from mdiqkd_net.conformance import vectors
from mdiqkd_net.conformance.vectors._recording import CHARLES, RecordedUser
from mdiqkd_net.conformance.vectors._sessions import USERS, pads_of, plan_of
from mdiqkd_net.errors import AuthenticationError, WireError
from mdiqkd_net.wire.codec import CAPS
from mdiqkd_net.wire.frames import FrameReader
from mdiqkd_net.wire.messages import BY_TYPE, Commit, Vote

CASES = vectors.load("sessions")["cases"]
KEY, ABORTED = CASES


def frame_of(told):
    (frame,) = FrameReader(CAPS).receive_data(octets(told["octets"]))
    return frame


class Player:
    """One user of a case: the core, with nothing but what the case gives."""

    def __init__(self, case, name):
        self.given, self.name = case["input"], name
        draws = deque(octets(draw["octets"]) for draw in self.given["users"][name]["draws"])

        def entropy(n):
            draw = draws.popleft()
            assert len(draw) == n, "draws come in order"
            return draw

        def post(_, receiver, frame):
            self.sent.append((receiver, frame.raw))

        self.draws = draws
        self.sent = deque()
        self.user = RecordedUser(
            plan_of(self.given, name), pads_of(self.given, name), entropy, post
        )

    def play(self, change=lambda frame: frame):
        self.user.connect(CHARLES)
        self.user.connect(next(other for other in USERS if other != self.name))
        for number in self.given["users"][self.name]["script"]:
            told = self.given["frames"][number]
            if told["from"] == self.name:
                assert self.sent, f"it does not say frame {number}"
                assert self.sent.popleft() == (told["to"], octets(told["octets"])), number
            else:
                self.user.receive(told["from"], change(frame_of(told)))
        assert not self.sent, "it says more than was recorded"
        assert not self.draws, "it draws less than was recorded"
        return self.user


@pytest.mark.parametrize("name", USERS)
def test_a_core_says_what_was_recorded_and_ends_with_the_recorded_key(name):
    user = Player(KEY, name).play()
    assert user.outcome == "key"
    assert user.key.hex() == KEY["expected"]["key"]
    assert len(user.key) == -(-int(KEY["expected"]["bits"]) // 8)


@pytest.mark.parametrize("name", USERS)
def test_a_core_aborts_as_was_recorded(name):
    user = Player(ABORTED, name).play()
    assert (user.outcome, user.key) == ("aborted", b"")


@pytest.mark.parametrize(("name", "kind"), [("alice", Vote), ("bob", Commit)])
def test_the_pads_of_the_case_are_what_the_tags_rest_on(name, kind):
    """With a bit of a tag flipped the core refuses; so it does check the recorded ones."""

    def flip(frame):
        if frame.kind != kind.TYPE:
            return frame
        (changed,) = FrameReader(CAPS).receive_data(frame.raw[:-1] + bytes([frame.raw[-1] ^ 1]))
        return changed

    with pytest.raises(AuthenticationError):
        Player(KEY, name).play(flip)


def test_a_frame_that_is_left_out_is_noticed():
    case = copy.deepcopy(KEY)
    frames, script = case["input"]["frames"], case["input"]["users"]["alice"]["script"]
    left_out = next(n for n in script if frames[n]["from"] == "bob" and frame_of(frames[n]).stream)
    script.remove(left_out)
    with pytest.raises((AssertionError, WireError)):
        Player(case, "alice").play()


def test_a_script_is_a_possible_order():
    """A user receives what has been sent before, and nothing of a link is left out."""
    for case in CASES:
        frames = case["input"]["frames"]
        for name in USERS:
            script = case["input"]["users"][name]["script"]
            assert sorted(script) == [
                i for i, f in enumerate(frames) if name in (f["from"], f["to"])
            ]
            for other in {*USERS, CHARLES} - {name}:
                link = [i for i in script if frames[i]["from"] == other]
                assert link == sorted(link), "a link keeps its order"


def test_a_session_has_every_stage():
    said = {BY_TYPE[frame_of(told).kind].__name__ for told in KEY["input"]["frames"]}
    assert said >= {
        "Hello", "Resume", "PadLeaseRequest", "PadLease", "PairRequest", "PairReady", "PairArmed",
        "Announcement", "AnnouncementsClosed", "Credit", "BlockOpen", "BlockOpened", "Gate",
        "Sift", "SiftDone", "EstimationBits", "ReconcileStart", "Reconcile", "Verify", "Verified",
        "AmplifySeed", "Prepare", "Vote", "Commit", "Committed",
    }  # fmt: skip


def with_bit(case, name, at):
    """The case with the last bit flipped of byte `at` of the first frame of that message."""
    changed = copy.deepcopy(case)
    told = next(t for t in changed["input"]["frames"] if BY_TYPE[frame_of(t).kind].__name__ == name)
    raw = bytearray(octets(told["octets"]))
    raw[at] ^= 1
    told["octets"] = raw.hex()
    return changed


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("BlockOpen", 19),  # SEQ
        ("Gate", 23),  # ACK
        ("Sift", -12),  # in the list of positions
        ("EstimationBits", -20),
        *((name, -1) for name in ("Prepare", "Vote", "Commit", "Committed")),  # the tags
    ],
)
def test_the_second_decoder_notices_a_flipped_bit(name, at):
    with pytest.raises((AssertionError, ValueError)):
        judge("sessions", with_bit(KEY, name, at))


@pytest.mark.parametrize("field", ["hash_keys", "pads"])
def test_the_second_decoder_checks_tags_with_the_keys_and_pads_of_the_case(field):
    changed = copy.deepcopy(KEY)
    told = changed["input"]["users"]["bob"]
    told[field] = told[field][::-1]
    with pytest.raises(AssertionError):
        judge("sessions", changed)


def test_the_second_decoder_makes_the_key_from_the_states_of_the_case():
    changed = copy.deepcopy(KEY)
    told = changed["input"]["users"]["alice"]
    at = next(i for i, state in enumerate(told["states"]) if state in "56")
    other = {"5": "6", "6": "5"}[told["states"][at]]
    told["states"] = told["states"][:at] + other + told["states"][at + 1 :]
    with pytest.raises(AssertionError):
        judge("sessions", changed)


def test_the_file_stays_small():
    assert (vectors.FOLDER / "sessions.json").stat().st_size < 150_000
