"""The whole stack, three processes from light to key, against a loop over every pulse.

Run with -s for the figures: pytest -s tests/bench/test_end_to_end_ratios.py
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from naive_light import LINKS, run_naive

SCENARIOS = Path(__file__).parents[2] / "scenarios"
N_NAIVE = 5_000_000


@pytest.mark.parametrize(("loss", "n_pulses", "goal"), [(20, 5e10, 50), (40, 5e12, 5000)])
def test_three_processes_beat_a_loop_over_every_pulse(loss, n_pulses, goal, tmp_path):
    """Goals leave a wide margin for busy machines. Wall time, start of light to key in stores."""
    scenario = SCENARIOS / f"loss_{loss}db.toml"
    if not scenario.exists():
        pytest.skip("the scenarios are not beside these tests")
    run_naive(LINKS[f"{loss} dB"], 1000)  # compile
    _, slow_s = run_naive(LINKS[f"{loss} dB"], N_NAIVE)
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "mdiqkd_net", "run", str(scenario), "--quiet"]
    options = ["--n-pulses", f"{n_pulses:.0f}", "--json", str(report)]
    subprocess.run([*command, *options], check=True, capture_output=True)
    found = json.loads(report.read_text())
    slow, fast = N_NAIVE / slow_s, found["pulses_per_s"]
    print(  # noqa: T201
        f"\n{loss} dB: {fast:.2e} pulses/s end to end, {found['light_pulses_per_s']:.2e} light "
        f"alone, naive loop {slow:.2e}: {fast / slow:.0f} times"
    )
    assert found["pairs"][0]["keys_match"]
    assert fast > goal * slow
