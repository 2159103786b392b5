"""A symmetric link of 50 km as the text of a file."""

SETTINGS = """\
x = { intensity = 0.04, probability = 0.13 }
y = { intensity = 0.16, probability = 0.024 }
z = { intensity = 0.5, probability = 0.82 }
"""

ARM = "attenuation_db_per_km = 0.2\nlength_km = 25.0\n"

LINK = f"""\
n_pulses = 1000000000000
eps_sec = 1e-10
eps_cor = 1e-15
f_ec = 1.16
bell_states = ["psi_minus", "psi_plus"]
[alice]
{SETTINGS}{ARM}[bob]
{SETTINGS}{ARM}[receiver]
efficiency = 0.4
dark_probability = 1e-7
misalignment = 0.015
mode_overlap = 1.0
"""
