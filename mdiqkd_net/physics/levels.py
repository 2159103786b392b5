"""What each level of the simulation can represent, known before there is any light."""

from typing import Final

from mdiqkd_net.errors import DeviceError
from mdiqkd_net.params import ReceiverParams
from mdiqkd_net.physics.detectors import detector_of
from mdiqkd_net.physics.gates import Gates, check_untimed, gates_of

AVAILABLE: Final = ("coincidence", "click", "tag")
"""Values of `receiver.level`, the fastest first."""


def check_level(receiver: ReceiverParams, pulse_rate_hz: float) -> Gates:
    """The gates of a receiver, if its level can represent its detectors.

    Raises:
        DeviceError: On a level that is not available, on numbers that no detector has, and on an
            effect that the level cannot represent, with the level that can.
    """
    if receiver.level not in AVAILABLE:
        raise DeviceError(f"level: found {receiver.level!r}; allowed: {', '.join(AVAILABLE)}")
    # Whoever reads a configuration comes here; compiled loops are loaded for those who need them.
    if receiver.attack is not None:
        from mdiqkd_net.physics.attacks import ATTACKS  # noqa: PLC0415

        if receiver.attack not in ATTACKS:
            raise DeviceError(f"attack: found {receiver.attack!r}; allowed: {', '.join(ATTACKS)}")
    gates = gates_of(receiver, pulse_rate_hz)
    if receiver.level != "click" and gates.recovery_pulses > 0.0:
        raise DeviceError(
            f"recovery_s: found {detector_of(receiver).recovery_s} at the level {receiver.level}; "
            "allowed: 0, or the level click"
        )
    if receiver.level == "tag":
        from mdiqkd_net.physics.tagging import tagging_of  # noqa: PLC0415

        tagging_of(receiver, pulse_rate_hz)
    else:
        check_untimed(receiver, pulse_rate_hz)
    if receiver.level == "coincidence" and gates.afterpulse_probability > 0.0:
        raise DeviceError(
            f"afterpulse_probability: found {gates.afterpulse_probability} at the level "
            "coincidence; allowed: 0, or the levels click and tag, which make every click"
        )
    return gates
