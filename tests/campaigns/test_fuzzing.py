"""Hostile input by the million: `python -m pytest -m campaign -s tests/campaigns/test_fuzzing.py`.

MDIQKD_FUZZ_CASES sets how many cases a parser gets (a million); slow ones, of whole files, get a
share. MDIQKD_FUZZ_SEED chooses other cases. docs/how-to/fuzz.md tells more.
"""

import itertools
import os
import sys
import time
from random import Random

import pytest
from fuzzing import mutate
from fuzzing.targets import TARGETS

CASES = int(os.environ.get("MDIQKD_FUZZ_CASES", "1_000_000"))
SEED = os.environ.get("MDIQKD_FUZZ_SEED", "1")
NEVER_ACCEPTED = {"announcements"}  # nobody here can sign for the relay


@pytest.mark.campaign
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_refusals(name):
    target = TARGETS[name]
    rng = Random(f"{SEED} {name}")
    n_cases = max(1, CASES // target.weight)
    accepted = 0
    made = (near for _ in itertools.count() for near in mutate.around(target.make(rng), rng))
    began_s = time.process_time()
    for case, data in enumerate(itertools.islice(made, n_cases)):
        try:
            accepted += target.survives(data)
        except Exception as error:
            raise AssertionError(f"{name}, case {case}: {error!r} of {data.hex()}") from error
    took_s = time.process_time() - began_s
    sys.stdout.write(f"{name}: {n_cases} cases, {accepted} accepted, {took_s:.0f} s\n")
    assert accepted or name in NEVER_ACCEPTED
