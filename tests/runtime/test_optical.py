"""The light plane: what a transmitter answers, and what the simulated fiber accepts."""

from collections import deque

import msgspec
import numpy as np
import pytest
import trio
from examples import BOUNDS
from memory_users import Random
from triangle import RECEIVER, SOURCE

from mdiqkd_net.devices import SimulatedReceiver
from mdiqkd_net.errors import DeviceError, RemoteProtocolError
from mdiqkd_net.imperfections import Drift, PatternEffect, Process, TransmitterParams
from mdiqkd_net.params import MAX_PULSES, Fiber
from mdiqkd_net.physics.drift import NOMINAL, ArmDrift
from mdiqkd_net.physics.pair_optics import Arm, pair_optics
from mdiqkd_net.protocol.light import SessionLight, source_settings
from mdiqkd_net.protocol.relay import segments
from mdiqkd_net.runtime import optical
from mdiqkd_net.runtime.config import SimulatedDevice
from mdiqkd_net.runtime.optical import LightPlane, Transmitter
from mdiqkd_net.runtime.world import RealWorld
from mdiqkd_net.wire import bulk
from mdiqkd_net.wire import messages as m
from mdiqkd_net.wire.codec import CAPS, decode, encode
from mdiqkd_net.wire.frames import FrameReader, Sequencer

SESSION = bytes(range(16))
FIBER = Fiber(length_km=0.0, attenuation_db_per_km=0.2, insertion_loss_db=1.55)
DEVICE = SimulatedDevice(
    light_listen="127.0.0.1:0",
    receiver=RECEIVER,
    fibers={"alice": FIBER, "bob": FIBER},
    seed=1,
)


class Wire:
    """Stands in for a link: what it is told goes to its other end."""

    def __init__(self, node):
        self.node = node
        self.sequencer = Sequencer()
        self.other = None
        self._arrived = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._closed = False

    def send(self, data):
        self.other._arrived += FrameReader(CAPS).receive_data(data)
        self.other._news.unpark_all()

    def tell(self, message, stream=0):
        raw = self.sequencer.seal(message.TYPE, encode(message), stream).raw
        self.send(raw)
        return len(raw)

    async def drained(self):
        await trio.lowlevel.checkpoint()

    async def next_frame(self):
        while not self._arrived:
            if self._closed:
                return None
            await self._news.park()
        return self._arrived.popleft()

    async def close(self):
        for end in (self, self.other):
            end._closed = True
            end._news.unpark_all()


def wires(user):
    """Both ends: the fiber's, which names the user, and the user's."""
    fiber, own = Wire(user), Wire("charles")
    fiber.other, own.other = own, fiber
    return fiber, own


def session_light(seed, n_segments=3):
    return SessionLight(SOURCE, n_segments, Random(seed))


async def clicks_over_wires(nursery, plane, n_pulses=(250_000, 100_000), first=None):
    """Blocks of a session, and the light of its users, who may say something first."""
    lights = {}
    for seed, user in enumerate(("alice", "bob")):
        fiber, own = wires(user)
        nursery.start_soon(plane.serve, fiber)
        if first is not None:
            own.tell(first)
        transmitter = Transmitter(RealWorld())
        nursery.start_soon(transmitter.serve, own)
        lights[user] = session_light(seed)
        transmitter.arm(SESSION, lights[user])
    blocks = []

    async def deliver(clicks):
        blocks.append(clicks)

    await plane.measure(SESSION, ("alice", "bob"), segments(*n_pulses), deliver)
    return blocks, lights


async def test_two_transmitters_light_a_whole_session(nursery):
    blocks, lights = await clicks_over_wires(nursery, LightPlane(DEVICE, RealWorld()))
    assert [block.segment for block in blocks if block.last] == [0, 1, 2]
    assert sum(block.pulses.size for block in blocks) > 1000
    # What clicked was lit: both users sent vacuum almost never where both bins clicked.
    first = blocks[0]
    states = lights["alice"].states_at(0, first.pulses)
    assert np.mean(states == 0) < 0.05
    nursery.cancel_scope.cancel()


FLAWED = TransmitterParams(
    intensity_noise=0.1,
    pattern_effect=PatternEffect(z=0.3),
    phase_randomization="discrete",
    coherence_time_s=1e-4,
    pulse_width_ps=100.0,
)
DRIFTING = msgspec.structs.replace(
    FIBER, drift=Drift(delay_ps=Process(kind="random_walk", size=30.0, time_s=0.1))
)
FLAWED_DEVICE = msgspec.structs.replace(
    DEVICE,
    fibers={"alice": DRIFTING, "bob": FIBER},
    transmitters={"alice": FLAWED, "bob": FLAWED},
)


@pytest.mark.parametrize("level", ["coincidence", "click", "tag"])
async def test_flawed_and_drifting_light_over_wires_is_that_of_the_optics(
    nursery, monkeypatch, level
):
    """Click by click: the pulse before a candidate is asked for, and each segment has its drift."""
    monkeypatch.setattr(optical, "BATCH", 1000)
    receiver = msgspec.structs.replace(RECEIVER, level=level)
    device = msgspec.structs.replace(FLAWED_DEVICE, receiver=receiver)
    plane = LightPlane(device, RealWorld(), pulse_rate_hz=1e6)
    blocks, lights = await clicks_over_wires(nursery, plane)
    arms = (
        Arm(lights["alice"].source, DRIFTING, FLAWED),
        Arm(lights["bob"].source, FIBER, FLAWED),
    )
    drift = ArmDrift(DRIFTING, (1, int.from_bytes(b"alice", "big")))
    delays = []

    def optics_of(segment):
        now = drift.at(segment.first_pulse / 1e6)
        delays.append(now.delay_ps)
        return pair_optics(receiver, arms, (now, NOMINAL), pulse_rate_hz=1e6)

    still = pair_optics(receiver, arms, pulse_rate_hz=1e6)
    twin = SimulatedReceiver(
        receiver=still.receiver,
        transmittances=still.transmittances,
        light=still.light,
        phase=still.phase,
        seed=(1, 0),
        pulse_rate_hz=1e6,
        optics_of=optics_of,
    )
    for segment in segments(250_000, 100_000):
        twin.begin(segment)
        batch = twin.next_candidates(10**7)
        known = (light.states_at(segment.number, batch.asked) for light in lights.values())
        alone = twin.detect(batch, *known)
        parts = [block for block in blocks if block.segment == segment.number]
        assert alone.pulses.size > 300
        np.testing.assert_array_equal(np.concatenate([b.pulses for b in parts]), alone.pulses)
        np.testing.assert_array_equal(np.concatenate([b.patterns for b in parts]), alone.patterns)
    assert len(set(delays)) == 3
    nursery.cancel_scope.cancel()


async def test_arms_go_on_drifting_from_session_to_session(nursery):
    plane = LightPlane(FLAWED_DEVICE, RealWorld(), pulse_rate_hz=1e6)
    await clicks_over_wires(nursery, plane)
    assert plane._light_s == pytest.approx(0.25)
    nursery.cancel_scope.cancel()


async def test_a_missing_transmitter_is_named(autojump_clock):
    plane = LightPlane(DEVICE, RealWorld())
    with pytest.raises(DeviceError, match=r"no light from alice and bob within 10 s"):
        await plane.measure(SESSION, ("alice", "bob"), segments(10, 10), _nobody_listens)


async def test_a_transmitter_that_goes_away_is_named(nursery):
    plane = LightPlane(DEVICE, RealWorld())
    ends = {user: wires(user) for user in ("alice", "bob")}
    for fiber, own in ends.values():
        nursery.start_soon(plane.serve, fiber)
        own.tell(m.LightArm(session=SESSION, source=source_settings(SOURCE)))

    async def leave_when_asked():
        await ends["bob"][1].next_frame()
        for _, own in ends.values():
            await own.close()

    nursery.start_soon(leave_when_asked)
    users = ("alice", "bob")
    with pytest.raises(DeviceError, match=r"the transmitter of (alice|bob) went away"):
        await plane.measure(SESSION, users, segments(10_000, 10_000), _nobody_listens)
    nursery.cancel_scope.cancel()


async def test_an_answer_that_is_lost_with_its_link_is_not_waited_for_on_the_next(nursery):
    """Seed 2323 of the simulation: the relay waited for it, and had no turn for anybody."""
    plane = LightPlane(DEVICE, RealWorld())
    ends = {user: wires(user) for user in ("alice", "bob")}
    for fiber, own in ends.values():
        nursery.start_soon(plane.serve, fiber)
        own.tell(m.LightArm(session=SESSION, source=source_settings(SOURCE)))

    async def come_back_when_asked():
        alice, bob = ends["alice"][1], ends["bob"][1]
        question = decode(await alice.next_frame())
        await bob.next_frame()
        await bob.close()
        nursery.start_soon(plane.serve, wires("bob")[0])
        await trio.testing.wait_all_tasks_blocked()
        states = bulk.pack_unsigned(np.zeros(question.gaps.n, np.uint8))
        alice.tell(m.Light(session=SESSION, states=states))

    nursery.start_soon(come_back_when_asked)
    with trio.fail_after(60), pytest.raises(DeviceError, match="the transmitter of bob went away"):
        await plane.measure(SESSION, tuple(ends), segments(10_000, 10_000), _nobody_listens)
    nursery.cancel_scope.cancel()


async def _nobody_listens(_clicks):
    pass


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (m.SiftDone(count=0, nonce=bytes(16)), "found SiftDone; allowed: LightArm"),
        (
            m.Light(session=SESSION, states=bulk.pack_bits(np.ones(3, np.uint8))),
            "states of type u8",
        ),
        (
            m.Light(
                session=SESSION,
                states=bulk.pack_unsigned(np.zeros(optical.MAX_ASKED + 1, np.uint8)),
            ),
            "found 262145 states; allowed: 262144",
        ),
        (
            m.LightArm(
                session=SESSION,
                source=m.SourceSettings(
                    bounds=BOUNDS, intensities=[2, 1, 1], probabilities=[1, 1, 1]
                ),
            ),
            "peer's source",
        ),
    ],
)
async def test_what_a_transmitter_may_not_say(message, words):
    plane = LightPlane(DEVICE, RealWorld())
    fiber, own = wires("alice")
    own.tell(message)
    with pytest.raises(RemoteProtocolError, match=words):
        await plane.serve(fiber)


async def test_only_users_with_a_fiber():
    plane = LightPlane(DEVICE, RealWorld())
    with pytest.raises(RemoteProtocolError, match="carol has no fiber here; allowed: alice, bob"):
        await plane.serve(wires("carol")[0])


async def test_a_transmitter_that_comes_back_takes_the_place_of_its_old_link(nursery):
    plane = LightPlane(DEVICE, RealWorld())
    (old, _), (new, own) = wires("alice"), wires("alice")
    nursery.start_soon(plane.serve, old)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(plane.serve, new)
    await trio.testing.wait_all_tasks_blocked()
    assert await old.next_frame() is None
    own.tell(m.LightArm(session=SESSION, source=source_settings(SOURCE)))
    await trio.testing.wait_all_tasks_blocked()
    assert (SESSION, "alice") in plane._sources
    nursery.cancel_scope.cancel()


def ask(segment=0, session=SESSION, base=100, gaps=(3, 0, 7)):
    packed = bulk.pack_unsigned(np.array(gaps, np.uint64))
    return m.LightAsk(base=base, gaps=packed, segment=segment, session=session)


async def test_a_transmitter_answers_for_what_is_armed_and_counts_it(nursery):
    fiber, own = wires("alice")
    transmitter = Transmitter(RealWorld())
    light = session_light(7)
    transmitter.arm(SESSION, light)
    nursery.start_soon(transmitter.serve, own)
    assert isinstance(decode(await fiber.next_frame()), m.LightArm)
    fiber.tell(ask())
    answer = decode(await fiber.next_frame())
    expected = light.states_at(0, np.array([103, 104, 112]))
    assert list(answer.states.v) == expected.tolist()
    assert transmitter.count_bytes(SESSION) > 50
    assert transmitter.count_bytes(SESSION) == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (ask(segment=9), "segment: found 9; allowed: 0 to 2"),
        (m.SiftDone(count=0, nonce=bytes(16)), "found SiftDone; allowed: LightAsk"),
        (ask(base=2**63 - 1), "found pulse or gap 9223372036854775807; allowed: below 10"),
        (ask(gaps=(0, 2**63)), "found pulse or gap 9223372036854775808; allowed: below 10"),
        (ask(gaps=(0, 2**64 - 1)), "found pulse or gap 18446744073709551615; allowed"),
        (ask(gaps=(MAX_PULSES - 1, 0)), "found pulse or gap 1000000000000100; allowed"),
        (ask(gaps=np.zeros(optical.MAX_ASKED + 1)), "found 262145 pulses; allowed: 262144"),
    ],
)
async def test_what_a_fiber_may_not_ask(message, words):
    fiber, own = wires("alice")
    transmitter = Transmitter(RealWorld())
    transmitter.arm(SESSION, session_light(7))
    fiber.tell(message)
    with pytest.raises(RemoteProtocolError, match=words):
        await transmitter.serve(own)


async def test_a_session_that_has_ended_is_answered_without_light(nursery):
    fiber, own = wires("alice")
    transmitter = Transmitter(RealWorld())
    transmitter.arm(SESSION, session_light(7))
    transmitter.disarm(SESSION)
    nursery.start_soon(transmitter.serve, own)
    fiber.tell(ask())
    answer = decode(await fiber.next_frame())
    assert (answer.session, answer.states.n) == (SESSION, 0)
    nursery.cancel_scope.cancel()


async def test_answers_left_over_from_a_stopped_session_are_dropped(nursery):
    """Alice's old answers must not become the light of her next session."""
    stale = m.Light(session=bytes(16), states=bulk.Bulk(n=4, t="u8", v=bytes(4)))
    blocks, lights = await clicks_over_wires(
        nursery, LightPlane(DEVICE, RealWorld()), (100_000, 100_000), first=stale
    )
    states = [lights[user].states_at(0, blocks[0].pulses) for user in ("alice", "bob")]
    # Both bins clicked: hardly ever with vacuum on both sides.
    assert np.mean((states[0] == 0) & (states[1] == 0)) < 0.001
    nursery.cancel_scope.cancel()


async def test_an_armed_transmitter_says_so_on_every_new_link(nursery):
    transmitter = Transmitter(RealWorld())
    transmitter.arm(SESSION, session_light(7))
    for _ in range(2):
        fiber, own = wires("alice")
        nursery.start_soon(transmitter.serve, own)
        assert decode(await fiber.next_frame()).session == SESSION
        await fiber.close()
    nursery.cancel_scope.cancel()


async def test_a_transmitter_that_answers_with_no_state_there_is_ends_the_session(nursery):
    plane = LightPlane(DEVICE, RealWorld())

    async def answer(own):
        own.tell(m.LightArm(session=SESSION, source=source_settings(SOURCE)))
        while frame := await own.next_frame():
            n = decode(frame).gaps.n
            states = bulk.pack_unsigned(np.full(n, 7, np.uint8))
            own.tell(m.Light(session=SESSION, states=states))

    for user in ("alice", "bob"):
        fiber, own = wires(user)
        nursery.start_soon(plane.serve, fiber)
        nursery.start_soon(answer, own)
    users = ("alice", "bob")
    with pytest.raises(DeviceError, match="found state 7; allowed: 0 to 6"):
        await plane.measure(SESSION, users, segments(10_000, 10_000), _nobody_listens)
    nursery.cancel_scope.cancel()


async def test_a_transmitter_that_arms_without_end_takes_no_memory(nursery):
    plane = LightPlane(DEVICE, RealWorld())
    ends = {user: wires(user) for user in ("alice", "bob")}
    for fiber, own in ends.values():
        nursery.start_soon(plane.serve, fiber)
        own.tell(m.LightArm(session=SESSION, source=source_settings(SOURCE)))
    for n in range(10 * optical.MAX_ARMED):
        told = m.LightArm(session=n.to_bytes(16, "little"), source=source_settings(SOURCE))
        ends["alice"][1].tell(told)
    await trio.testing.wait_all_tasks_blocked()
    assert len(plane._sources) == optical.MAX_ARMED + 1
    assert (told.session, "alice") in plane._sources
    assert (SESSION, "bob") in plane._sources
    nursery.cancel_scope.cancel()


def test_the_batch_of_a_question_fits_its_frame():
    widest = bulk.Bulk(n=optical.BATCH, t="u64", v=bytes(8 * optical.BATCH))
    asked = m.LightAsk(base=2**62, gaps=widest, segment=2**40, session=SESSION)
    assert len(encode(asked)) <= CAPS[m.LightAsk.TYPE]
