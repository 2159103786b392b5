"""Single-photon avalanche diodes: gated, with a hold-off time and with afterpulses."""

from typing import Final

from mdiqkd_net.physics.detectors.detector import Afterpulses, Detector

INGAAS: Final = Detector(
    efficiency=0.2,
    dark_rate_hz=2_000.0,
    dead_time_s=1e-6,
    afterpulses=Afterpulses(0.02, ((0.6, 0.4e-6), (0.3, 2e-6), (0.1, 10e-6))),
    jitter_s=120e-12,
)
"""A gated InGaAs/InP diode at 1550 nm with its usual trade: a microsecond of hold-off keeps
afterpulses at some per cent. Numbers of the order that Zhang, Itzler, Zbinden & Pan, Light: Sci.
Appl. 4, e286 (2015) review, not of one device: measure yours."""

SILICON_3605H: Final = Detector(
    efficiency=0.6,
    dark_rate_hz=100.0,
    dead_time_s=24e-9,
    afterpulses=Afterpulses(0.0171, ((0.6175, 0.161e-9), (0.2682, 9.28e-9), (0.1143, 377.5e-9))),
    jitter_s=350e-12,
)
"""An actively quenched silicon diode for links below a micrometer. Recovery time and afterpulses
are those measured on an SPCM 3605H by Straka et al., J. Lightwave Technol. (2020), doi
10.1109/JLT.2020.2994654; the three decays are a fit to the measured distribution, within 2 % of its
cumulative one from 1 ns up. Efficiency, darks and jitter are usual ones of such modules. The mean
number of afterpulses per avalanche stands for the chance of one."""
