"""Reports: what a machine reads, what CI reads, and a page that needs nothing beside itself."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from mdiqkd_net.conformance.cases import Case, Close, Verdict
from mdiqkd_net.conformance.report.junit import junit
from mdiqkd_net.conformance.report.page import for_machines, page
from mdiqkd_net.conformance.report.summary import About, as_data
from mdiqkd_net.conformance.runner import Result
from mdiqkd_net.conformance.wirelog import MAX_ENTRIES, Entry, WireLog, describe
from mdiqkd_net.wire.bulk import Bulk
from mdiqkd_net.wire.codec import encode
from mdiqkd_net.wire.frames import Sequencer
from mdiqkd_net.wire.messages import Light, PairRequest

ABOUT = About("relay", "relay.example:7000", "2026-01-02T03:04:05+00:00", False, 1.0, 7)
NASTY = "<b>&\"' \x1b[31m end"


@pytest.fixture
def results():
    def result(number, area, verdict, close=Close.NOT_JUDGED, log=()):
        case = Case(f"CT-RL-{area[0]}-{number:02}", area, ("2.3",), "MUST", "L1", NASTY, (), None)
        return Result(case, verdict, verdict, close, NASTY, 0.25, list(log))

    log = [Entry(0.0, "sent", "alice", NASTY), Entry(0.1, "got", "alice", "end of the link")]
    return [
        result(1, "Framing", Verdict.PASS, Close.CLEAN),
        result(2, "Framing", Verdict.FAIL, log=log),
        result(1, "Hello", Verdict.SKIP),
        result(2, "Hello", Verdict.UNCLEAN, Close.NO_ERROR),
    ]


def test_json_says_everything(results):
    data = json.loads(for_machines(as_data(ABOUT, results)))
    assert (data["schema"], data["role"], data["seed"], data["conforms"]) == (1, "relay", 7, False)
    assert data["counts"] == {"PASS": 1, "FAIL": 1, "UNCLEAN": 1, "SKIP": 1}
    second, last = data["cases"][1], data["cases"][3]
    assert second["log"][0] == {"t_s": 0.0, "direction": "sent", "link": "alice", "text": NASTY}
    assert (last["verdict"], last["close"]) == ("UNCLEAN", "closed without Error")


def test_junit_counts_failures_and_skips(results):
    root = ElementTree.fromstring(junit(ABOUT, results))  # noqa: S314  # our own text
    suites = {suite.get("name"): suite for suite in root}
    assert [suites["Framing"].get(k) for k in ("tests", "failures", "skipped")] == ["2", "1", "0"]
    assert [suites["Hello"].get(k) for k in ("tests", "failures", "skipped")] == ["2", "1", "1"]
    (failure,) = suites["Framing"].iter("failure")
    assert failure.get("type") == "FAIL"
    assert "end of the link" in failure.text


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.outside, self.rows, self.text, self.open = [], [], "", []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.outside += [v for k, v in attrs if k in ("src", "href") and not v.startswith("#")]
        if tag == "tr" and "id" in found:
            self.rows.append((found["id"], found["data-verdict"]))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_every_case_and_needs_nothing_else(results):
    text = page(ABOUT, results)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.outside == []
    assert not re.search(r"https?:|@import|url\(", text)
    assert [verdict for _, verdict in reader.rows] == ["PASS", "FAIL", "SKIP", "UNCLEAN"]
    assert "2 of 3 cases that were played do not pass" in reader.text
    assert "<b>" not in text.split("<body>")[1]


async def test_the_log_cuts_what_a_transmitter_prepared():
    states = np.array([5, 6, 5, 6], np.uint8).tobytes()
    light = Light(session=bytes(16), states=Bulk(n=4, t="u8", v=states))
    shown = describe(Sequencer().seal(light.TYPE, encode(light)).raw)
    assert "<4 states, cut>" in shown
    assert states.hex() not in shown


async def test_the_log_shows_frames_broken_frames_and_noise():
    frame = (
        Sequencer()
        .seal(PairRequest.TYPE, encode(PairRequest(n_pulses=7, peer="bob", request=1)))
        .raw
    )
    assert "PairRequest" in describe(frame)
    assert "n_pulses=7 peer=bob request=1" in describe(frame)
    assert "bytes of its body" in describe(frame[:-1])
    assert "not valid" in describe(frame[:-1] + b"\xff")
    assert "VER=9" in describe(frame[:6] + b"\x09" + frame[7:])
    assert describe(b"\x01\x02") == "2 bytes: 0102"


async def test_the_log_keeps_the_end_and_says_so():
    log = WireLog()
    for number in range(MAX_ENTRIES + 3):
        log.add("note", "alice", str(number))
    entries = log.entries()
    assert entries[0].text == "3 earlier entries are not kept"
    assert entries[-1].text == str(MAX_ENTRIES + 2)
