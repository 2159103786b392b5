"""What every receiver owes the runtime; run over the whole table of adapters."""

from collections import deque
from functools import partial

import numpy as np
import pytest

from mdiqkd_net.blocks import Segment
from mdiqkd_net.devices import ADAPTERS, SimulatedReceiver
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams

N_PULSES = 200_000


def simulated(level="coincidence"):
    """A short link whose users always send z0 and x1, in small batches."""
    light = np.array([[0, 0], [1, 1], [1, -1], [1, 1], [1, -1], [1, 0], [0, 1]], dtype=complex)
    optics = SimulatedReceiver(
        receiver=ReceiverParams(
            efficiency=0.5,
            dark_probability=1e-4,
            misalignment=0.01,
            mode_overlap=0.98,
            level=level,
        ),
        transmittances=(0.2, 0.1),
        light=(0.5 * light, 0.7 * light),
        seed=1,
    )

    asked = deque()

    def collect():
        n = asked.popleft().pulses.size
        return np.full(n, 5, dtype=np.uint8), np.full(n, 2, dtype=np.uint8)

    return ADAPTERS["simulated"](optics, ask=asked.append, collect=collect, max_candidates=37)


BUILDERS = {
    "simulated": simulated,
    "simulated, click": partial(simulated, "click"),
    "simulated, tag": partial(simulated, "tag"),
}


def test_every_adapter_is_held_to_the_contract():
    assert {name.partition(",")[0] for name in BUILDERS} == set(ADAPTERS)


def read_all(device):
    blocks = []
    while (block := device.next_clicks()) is not None:
        blocks.append(block)
    return blocks


@pytest.mark.parametrize("name", BUILDERS)
def test_a_segment_is_covered_once_and_in_order(name):
    device = BUILDERS[name]()
    for number in (0, 1):
        device.begin(Segment(number=number, first_pulse=number * N_PULSES, n_pulses=N_PULSES))
        blocks = read_all(device)
        assert all(block.segment == number for block in blocks)
        assert [block.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
        covered = [0] + [block.n_elapsed for block in blocks]
        assert covered == sorted(covered)
        assert covered[-1] == N_PULSES
        for block, start in zip(blocks, covered, strict=False):
            assert ((start <= block.pulses) & (block.pulses < block.n_elapsed)).all()
        pulses = np.concatenate([block.pulses for block in blocks])
        assert pulses.dtype == np.int64
        assert (np.diff(pulses) > 0).all()
        patterns = np.concatenate([block.patterns for block in blocks])
        assert patterns.dtype == np.uint8
        assert patterns.shape == pulses.shape
        assert len(patterns) > 20
        assert ((patterns & 3 > 0) & (patterns & 12 > 0) & (patterns < 16)).all()
        assert device.next_clicks() is None


@pytest.mark.parametrize("name", BUILDERS)
def test_nothing_clicks_before_a_segment_begins(name):
    with pytest.raises(DeviceError, match="no segment has begun"):
        BUILDERS[name]().next_clicks()


@pytest.mark.parametrize("name", BUILDERS)
def test_a_new_segment_drops_what_is_left_of_the_old(name):
    device = BUILDERS[name]()
    device.begin(Segment(number=0, first_pulse=0, n_pulses=N_PULSES))
    device.next_clicks()
    device.begin(Segment(number=1, first_pulse=N_PULSES, n_pulses=5))
    assert read_all(device)[-1].n_elapsed == 5
