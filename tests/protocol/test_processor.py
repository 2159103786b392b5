"""A block whose post-processing fails somewhere ends, and the next one gives a key."""

import pytest
from triangle import Triangle

from mdiqkd_net.errors import WorkerError
from mdiqkd_net.postprocessing.processor import HERE
from mdiqkd_net.protocol.context import LOCAL_REASON
from mdiqkd_net.wire.codec import decode
from mdiqkd_net.wire.messages import BlockAborted

N_PULSES = 20_000_000


class Unreliable:
    """Computes here, and fails once: in one kind of call, after some of them."""

    round_s = 0.0

    def __init__(self, call, after):
        self._call = call
        self._left = after
        self.failed = False
        self.begun = []

    def visit(self, call):
        if call == self._call and not self.failed:
            self._left -= 1
            if self._left < 0:
                self.failed = True
                raise WorkerError("worker 7: no answer within 20 s")

    def reconciler(self, scheme, bits, **options):
        self.visit("reconciler")
        self.begun.append(HERE.reconciler(scheme, bits, **options))
        return _UnreliableReconciler(self, self.begun[-1])

    def amplify(self, bits, seed, n_out):
        self.visit("amplify")
        return HERE.amplify(bits, seed, n_out)


class _UnreliableReconciler:
    def __init__(self, processor, reconciler):
        self._processor = processor
        self._reconciler = reconciler

    def __getattr__(self, name):
        return getattr(self._reconciler, name)

    @property
    def bits(self):
        self._processor.visit("bits")
        return self._reconciler.bits

    def start(self):
        self._processor.visit("start")
        return self._reconciler.start()

    def receive(self, payload):
        self._processor.visit("receive")
        return self._reconciler.receive(payload)


@pytest.mark.parametrize(
    ("call", "after"),
    [("reconciler", 0), ("start", 1), ("receive", 20), ("bits", 1), ("amplify", 0), ("amplify", 1)],
)
def test_a_failure_ends_the_block_and_no_more(call, after):
    codes = []

    def listen(_source, _target, frame):
        if frame.kind == BlockAborted.TYPE:
            codes.append(decode(frame).code)
        return frame

    processor = Unreliable(call, after)
    triangle = Triangle(
        N_PULSES, blocks=2, reconciler="cascade_low_rounds", tamper=listen, processor=processor
    ).run()
    assert processor.failed
    reasons = []
    for user in (triangle.alice, triangle.bob):
        assert user.error is None
        assert user.ended == ["aborted", "key"]
        (ended,) = (fields for event, fields in user.reports if event == "block.aborted")
        assert ended["secret_bits"] == 0
        reasons.append(ended["reason"])
    assert triangle.alice.keys == triangle.bob.keys
    assert len(triangle.alice.keys) == 1
    assert LOCAL_REASON in codes
    reasons.remove("post-processing: worker 7: no answer within 20 s")
    # Who has prepared already ends by the commit.
    has_prepared = (call, after) == ("amplify", 1)
    peer = f"the peer ended the block (code {LOCAL_REASON:#06x})"
    assert reasons == ["the commit was given up" if has_prepared else peer]
    for reconciler in processor.begun:
        assert not reconciler.bits.any(), "wiped, whatever came of it"


def test_what_a_round_costs_elsewhere_counts_in_the_choice_of_a_scheme():
    """Without it a round takes no time in here, and test_reconciling.py sees another scheme."""
    far = Unreliable("nothing", 0)
    far.round_s = 0.1
    triangle = Triangle(60_000_000, reconciler="auto", processor=far, blocks=2).run()
    assert triangle.alice.report("block.key")["scheme"] == "ldpc"
