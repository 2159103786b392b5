"""A receiver in software: fibers, beam splitter and detectors of one pair of users."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.blocks import N_STATES, ClickBlock, Segment
from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import MAX_PULSES, ReceiverParams
from mdiqkd_net.physics.pair_optics import UNIFORM, Light, PairOptics, PhaseLaw
from mdiqkd_net.physics.pulse_draws import PulseDraws
from mdiqkd_net.physics.receiver import Detection, Drawing, Level, level_of
from mdiqkd_net.physics.sampling import Draw

_CANDIDATES, _DETECTION, _PULSES = range(3)

BATCH: Final = 32_768
"""Candidates per question to the transmitters, unless told otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pulses whose clicks may matter: the receiver must see their light to decide.

    Attributes:
        segment: Number of the segment.
        n_before: Pulses of the segment decided by earlier batches.
        n_covered: Pulses of the segment decided once this batch is.
        pulses: The candidates, relative to the segment, strictly increasing, (n,), int64; all in
            n_before to n_covered - 1. May be empty.
        kinds: What kind of candidate each is, (n,), uint8; for the receiver alone.
        asked: The pulses whose states are asked for, strictly increasing, (m,), int64: the
            candidates, and the pulse before each of them if a transmitter's light depends on it.
    """

    segment: int
    n_before: int
    n_covered: int
    pulses: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    asked: NDArray[np.int64]


class SimulatedReceiver:
    """Charles' optics in two halves: which pulses must be seen, and what they did.

    For each segment: `begin`, then `next_candidates` until it returns None; every batch goes to
    both transmitters, and their answer to `detect`, batches in the order they were drawn.

    Candidates depend on the public light tables, transmittances, detector parameters and the
    simulation's seed, never on a setting that a user chose or on a click. Asking for the states of
    candidates therefore tells nobody anything about the choices, and the events among them tell no
    more than a real receiver's clicks. That holds for the pulses before a candidate, too, which are
    asked about because their clicks may have made a detector blind. Whoever runs this class sees
    the light, like a fiber does: hand its `ClickBlock`s to the relay core, and nothing else.

    Clicks are a function of the seed, the parameters, the segment's number and length and the
    states, bit for bit, however the segment is cut into batches. A segment begins with detectors
    that have rested. A number that begins again on the
    same receiver gets fresh randomness, and so does any other number. Reproducible on one build:
    another math library may round a logarithm differently.

    The halves share no mutable state: one thread may draw ahead while another detects. `begin` must
    not overlap with either.

    Args:
        receiver: The optics behind both fibers.
        transmittances: Of Alice's and Bob's arms, without the detectors.
        light: Amplitudes (7, 2) of Alice's and Bob's states, in the receiver's modes, or `Light`
            with the variants that a transmitter makes of them.
        seed: Of the simulated physics, non-negative; keys never come from it.
        pulse_rate_hz: Clock of the transmitters; it turns times of the detectors into pulses.
        phase: How the users' relative phase behaves from pulse to pulse.
        optics_of: All of this in a given segment, if it drifts; constant within a segment, and a
            function of the segment and of public numbers alone.

    Raises:
        DeviceError: On parameters that no receiver has, or that its level cannot represent.
    """

    def __init__(
        self,
        *,
        receiver: ReceiverParams,
        transmittances: tuple[float, float],
        light: tuple[NDArray[np.complex128] | Light, NDArray[np.complex128] | Light],
        seed: int | tuple[int, ...],
        pulse_rate_hz: float = 1e9,
        phase: PhaseLaw = UNIFORM,
        optics_of: Callable[[Segment], PairOptics] | None = None,
    ) -> None:
        alice, bob = (table if isinstance(table, Light) else Light.plain(table) for table in light)
        self._pulse_rate_hz = pulse_rate_hz
        self._nominal = PairOptics(receiver, transmittances, (alice, bob), phase)
        self._optics_of = optics_of
        self._optics, self._level = self._nominal, self._level_of(self._nominal)
        self._seed = (seed,) if isinstance(seed, int) else tuple(seed)
        if not self._seed or min(self._seed) < 0:
            raise DeviceError(f"seed: found {seed}; allowed: integers of 0 or greater")
        self._times_begun: Counter[int] = Counter()
        self._segment: Segment | None = None
        self._drawing: Drawing | None = None
        self._detection: Detection | None = None
        self._draws = PulseDraws(self._nominal, np.random.SeedSequence(0), 0)
        self._n_drawn = 0
        self._n_detected = 0

    @property
    def bound(self) -> float:
        """Candidates per pulse, on average, without those before others that dead time adds."""
        return self._level.bound

    def begin(self, segment: Segment) -> None:
        """Start a segment; batches of an earlier one are refused from now on.

        Raises:
            DeviceError: On a segment without a pulse, of more than 10^15, or so short that one
                dead time outlasts it.
        """
        if not 1 <= segment.n_pulses <= MAX_PULSES:
            raise DeviceError(
                f"segment {segment.number}: found {segment.n_pulses} pulses; "
                f"allowed: 1 to {MAX_PULSES}"
            )
        if segment.number < 0:
            raise DeviceError(f"segment number: found {segment.number}; allowed: 0 or greater")
        optics = self._nominal if self._optics_of is None else self._optics_of(segment)
        if optics is not self._optics:
            self._optics, self._level = optics, self._level_of(optics)
        if self._level.memory >= segment.n_pulses:
            raise DeviceError(
                f"dead time: found {self._level.memory} pulses; "
                f"allowed: less than the {segment.n_pulses} of segment {segment.number}"
            )
        self._drawing = self._level.drawing(self._seed_of(segment, _CANDIDATES), segment.n_pulses)
        self._detection = self._level.detection(
            self._seed_of(segment, _DETECTION), segment.n_pulses
        )
        self._draws = PulseDraws(optics, self._seed_of(segment, _PULSES), segment.first_pulse)
        self._times_begun[segment.number] += 1
        self._segment = segment
        self._n_drawn = 0
        self._n_detected = 0

    def next_candidates(self, max_candidates: int = BATCH) -> Candidates | None:
        """The next pulses whose light must be seen, or None when the segment is exhausted.

        The last batch covers the segment to its end and may be empty.

        Raises:
            DeviceError: Before `begin`, or if `max_candidates` is below 1.
        """
        segment, drawing, _ = self._begun()
        if max_candidates < 1:
            raise DeviceError(f"max_candidates: found {max_candidates}; allowed: 1 or greater")
        if self._n_drawn == segment.n_pulses:
            return None
        n_before = self._n_drawn
        draw = drawing.next(max_candidates)
        self._n_drawn = draw.n_covered
        return Candidates(
            segment=segment.number,
            n_before=n_before,
            n_covered=draw.n_covered,
            pulses=draw.pulses,
            kinds=draw.kinds,
            asked=self._draws.asked(draw.pulses),
        )

    def detect(
        self,
        candidates: Candidates,
        states_alice: NDArray[np.uint8],
        states_bob: NDArray[np.uint8],
    ) -> ClickBlock:
        """Let the light of a batch fall on the detectors; a refused call changes nothing.

        Args:
            candidates: The oldest batch that has not been detected.
            states_alice: Alice's states at the pulses `asked`, (m,) uint8, 0 to 6.
            states_bob: Bob's.

        Raises:
            DeviceError: On answers that do not fit the batch, and on a batch out of turn.
        """
        segment, _, detection = self._begun()
        if candidates.segment != segment.number or candidates.n_before != self._n_detected:
            raise DeviceError(
                f"batch out of turn: found segment {candidates.segment} from pulse "
                f"{candidates.n_before}; allowed: segment {segment.number} from pulse "
                f"{self._n_detected}"
            )
        for user, states in (("alice", states_alice), ("bob", states_bob)):
            _check_states(user, states, candidates.asked.size)
        draw = Draw(
            pulses=candidates.pulses, kinds=candidates.kinds, n_covered=candidates.n_covered
        )
        rows = self._draws.rows(candidates.pulses, candidates.asked, (states_alice, states_bob))
        pulses, patterns = detection.detect(draw, *rows)
        self._n_detected = candidates.n_covered
        return ClickBlock(
            segment=segment.number,
            pulses=pulses,
            patterns=patterns,
            n_elapsed=detection.n_decided,
            last=candidates.n_covered == segment.n_pulses,
        )

    def _begun(self) -> tuple[Segment, Drawing, Detection]:
        if self._segment is None or self._drawing is None or self._detection is None:
            raise DeviceError("no segment has begun")
        return self._segment, self._drawing, self._detection

    def _level_of(self, optics: PairOptics) -> Level:
        return level_of(
            receiver=optics.receiver,
            pulse_rate_hz=self._pulse_rate_hz,
            transmittances=optics.transmittances,
            light=optics.light,
            phase=optics.phase,
        )

    def _seed_of(self, segment: Segment, purpose: int) -> np.random.SeedSequence:
        key = (segment.number, self._times_begun[segment.number], purpose)
        return np.random.SeedSequence(self._seed, spawn_key=key)


class LitReceiver:
    """A simulated receiver together with somebody to ask for the light: a whole `Receiver`.

    Questions run ahead of answers, so that the transmitters work while the detectors do.

    Args:
        optics: The simulated optics; nobody else may use them.
        ask: Called with each batch in turn; may return before the answers are there.
        collect: Called once per batch, in the same order; returns Alice's and Bob's states.
        max_candidates: Per batch.
        ahead: How many batches may be asked for before the oldest is detected.
    """

    def __init__(
        self,
        optics: SimulatedReceiver,
        *,
        ask: Callable[[Candidates], None],
        collect: Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint8]]],
        max_candidates: int = BATCH,
        ahead: int = 4,
    ) -> None:
        self._optics = optics
        self._ask = ask
        self._collect = collect
        self._max_candidates = max_candidates
        self._ahead = ahead
        self._asked: deque[Candidates] = deque()

    def begin(self, segment: Segment) -> None:
        """Start a segment; answers about an earlier one that are still to come are dropped."""
        while self._asked:
            self._collect()
            self._asked.popleft()
        self._optics.begin(segment)

    def look_ahead(self) -> int:
        """Ask about as many batches as may be asked about; returns how many answers are due.

        `next_clicks` does this by itself. Whoever cannot let `collect` wait does it before, and
        collects an answer in the meantime.
        """
        while len(self._asked) < self._ahead:
            candidates = self._optics.next_candidates(self._max_candidates)
            if candidates is None:
                break
            self._ask(candidates)
            self._asked.append(candidates)
        return len(self._asked)

    def next_clicks(self) -> ClickBlock | None:
        """Clicks of the next batch, or None after the last."""
        if not self.look_ahead():
            return None
        states = self._collect()
        return self._optics.detect(self._asked.popleft(), *states)


def _check_states(user: str, states: NDArray[np.uint8], n: int) -> None:
    if states.shape != (n,) or states.dtype != np.uint8:
        raise DeviceError(
            f"states of {user}: found shape {states.shape} of {states.dtype}; "
            f"allowed: ({n},) of uint8"
        )
    if n and (top := int(states.max())) >= N_STATES:
        raise DeviceError(f"states of {user}: found state {top}; allowed: 0 to {N_STATES - 1}")
