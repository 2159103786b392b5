"""Short bright links, one for every flaw of a transmitter or an arm."""

from mdiqkd_net.imperfections import (
    AngleError,
    AngleErrors,
    ClassicalChannel,
    Coexistence,
    FreeSpace,
    PatternEffect,
    TransmitterParams,
)
from mdiqkd_net.params import Link, ReceiverParams, Setting, UserLink

IDEAL = TransmitterParams()
CROOKED = AngleErrors(
    x0=AngleError(polar_rad=0.25, azimuth_rad=-0.2),
    x1=AngleError(azimuth_rad=0.4),
    y0=AngleError(polar_rad=-0.3),
    z0=AngleError(polar_rad=0.3, azimuth_rad=1.0),
    z1=AngleError(polar_rad=-0.2, azimuth_rad=-0.5),
)
PULSE = {"pulse_width_ps": 100.0}
NOISY_FIBER = Coexistence(
    channels=(
        ClassicalChannel(launch_power_dbm=0.0, raman_per_km_nm=2e-9),
        ClassicalChannel(launch_power_dbm=3.0, raman_per_km_nm=2e-9, direction="backward"),
        ClassicalChannel(launch_power_dbm=0.0, isolation_db=65.0),
    ),
    filter_bandwidth_nm=0.5,
    gate_width_ps=1000.0,
)


def make_link(
    alice=IDEAL, bob=IDEAL, *, brightness=1.0, receiver=None, arm=None, separation_s=None
):
    """A link of two users with these transmitters; `arm` are further keys of Alice's table."""

    def user(x, y, z, transmitter, **more):
        return UserLink(
            x=Setting(brightness * x, 0.25),
            y=Setting(brightness * y, 0.25),
            z=Setting(brightness * z, 0.35),
            transmitter=transmitter,
            **({"length_km": 10.0, "attenuation_db_per_km": 0.2} | more),
        )

    return Link(
        n_pulses=3_000_000,
        alice=user(0.2, 0.5, 0.6, alice, **(arm or {})),
        bob=user(0.3, 0.7, 0.5, bob),
        receiver=receiver
        or ReceiverParams(
            efficiency=0.8,
            dark_probability=1e-4,
            misalignment=0.02,
            mode_overlap=0.97,
            bin_separation_s=separation_s,
        ),
        eps_sec=1e-10,
        eps_cor=1e-15,
        f_ec=1.16,
        bell_states=("psi_minus", "psi_plus"),
    )


def both(**keys):
    """Both users have the same transmitter."""
    transmitter = TransmitterParams(**keys)
    return {"alice": transmitter, "bob": transmitter}


TURN = {"polarization_rotation_rad": (0.5, -0.4, 0.3)}

FLAWS = {
    "angle errors": {"alice": TransmitterParams(angle_errors=CROOKED)},
    "angle errors of both": both(angle_errors=CROOKED),
    "phase encoding with errors": both(encoding="phase", angle_errors=CROOKED),
    "vacuum extinction": both(vacuum_extinction_db=13.0),
    "mode extinction": both(mode_extinction_db=13.0),
    "polarization turns": both(encoding="polarization") | {"arm": TURN},
    "polarizer after a turn": {"arm": TURN},
    "delay": {
        "alice": TransmitterParams(delay_ps=-20.0, **PULSE),
        "bob": TransmitterParams(delay_ps=40.0, **PULSE),
    },
    "frequency": {
        "alice": TransmitterParams(**PULSE),
        "bob": TransmitterParams(frequency_offset_hz=2e8, **PULSE),
        "separation_s": 0.5e-9,
    },
    "unequal pulses": {
        "alice": TransmitterParams(**PULSE),
        "bob": TransmitterParams(**(PULSE | {"pulse_width_ps": 300.0})),
    },
    "intensity noise": both(intensity_noise=0.24) | {"brightness": 3.0},
    "pattern effect": both(pattern_effect=PatternEffect(o=-0.2, x=0.1, z=0.25)),
    "noise and pattern": {
        "alice": TransmitterParams(
            intensity_noise=0.15, pattern_effect=PatternEffect(z=0.5), vacuum_extinction_db=15.0
        ),
        "bob": TransmitterParams(intensity_noise=0.2),
        "brightness": 2.0,
    },
    "few phases": both(phase_randomization="discrete", phase_levels=3) | {"brightness": 4.0},
    "locked lasers": both(phase_randomization="none"),
    "phases of one": {
        "alice": TransmitterParams(phase_randomization="discrete", phase_levels=2),
        "bob": TransmitterParams(phase_randomization="none"),
        "brightness": 3.0,
    },
    "splices": {"arm": {"splices": 20, "splice_loss_db": 0.1}},
    "classical channels": {"arm": {"coexistence": NOISY_FIBER}},
    "free space": {
        "arm": {"free_space": FreeSpace(length_km=1.0, beam_waist_m=0.02, receiver_radius_m=0.02)}
    },
}
"""Arguments of `make_link` by what is wrong; each is plain to see in a few million pulses."""

STILL_IDEAL = {
    "polarization": both(encoding="polarization"),
    "phase encoding": both(encoding="phase"),
    "one uniform phase": {
        "alice": TransmitterParams(phase_randomization="none", coherence_time_s=1e-3),
    },
    "walking phases": both(phase_randomization="none", coherence_time_s=1e-7),
    "sixteen phases": both(phase_randomization="discrete"),
}
"""Transmitters that single pulses cannot tell from the ideal one."""
