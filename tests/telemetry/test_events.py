"""One JSON object per line, comparable in time."""

import io
import json
import threading
import time

from mdiqkd_net.telemetry.events import Telemetry


def test_an_event_is_one_line_with_who_and_when():
    stream, before = io.StringIO(), time.monotonic()
    Telemetry("alice", stream).emit("block.stage", {"users": ["alice", "bob"]}, stage="sift")
    event = json.loads(stream.getvalue())
    assert event.pop("t_s") >= round(before, 6) - 1e-6
    assert event == {
        "event": "block.stage",
        "node": "alice",
        "users": ["alice", "bob"],
        "stage": "sift",
    }


def test_a_number_that_json_lacks_is_null():
    stream = io.StringIO()
    Telemetry("alice", stream).emit("x", value=float("nan"))
    assert json.loads(stream.getvalue())["value"] is None


def test_lines_of_several_threads_stay_whole():
    stream = io.StringIO()
    telemetry = Telemetry("alice", stream)

    def talk():
        for number in range(200):
            telemetry.emit("x", number=number)

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sum(event["number"] for event in events) == 4 * 199 * 100
