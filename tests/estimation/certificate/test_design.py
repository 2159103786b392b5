"""The canonical form of a design, and its digest."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.certificate.design import parse_design


def test_round_trip_and_digest(golden_design):
    data = golden_design.canonical()
    assert parse_design(data) == golden_design
    assert golden_design.digest() == hashlib.sha256(data).hexdigest()
    assert len(data) < 2000


def test_every_field_counts(golden_design):
    others = [
        replace(golden_design, theta=golden_design.theta * 1.5),
        replace(golden_design, offset=golden_design.offset + 1),
        replace(golden_design, gain_right=golden_design.gain_right - 1),
        replace(golden_design, gain_wrong=golden_design.gain_wrong - 1),
        replace(golden_design, eps_sec=1e-9),
        replace(golden_design, scores=golden_design.scores[::-1]),
        replace(golden_design, alice=replace(golden_design.alice, vacuum=(0.0, 1e-9))),
        replace(golden_design, bob=replace(golden_design.bob, x=golden_design.bob.y)),
    ]
    digests = {design.digest() for design in (golden_design, *others)}
    assert len(digests) == 1 + len(others)


def test_designs_are_reproducible(golden, golden_design):
    from mdiqkd_net.estimation.certificate.search import design_certificate

    again = design_certificate(golden, golden.source, golden.source, golden.link.security)
    assert again.digest() == golden_design.digest()


@pytest.mark.parametrize("change", [{"theta": 1}, {"alice": []}, {"scores": [1]}, {"extra": 1}])
def test_other_contents_cannot_be_read(golden_design, change):
    raw = json.loads(golden_design.canonical()) | change
    with pytest.raises(ConfigError, match="certificate design"):
        parse_design(json.dumps(raw, sort_keys=True, separators=(",", ":")).encode())


@given(data=st.binary(max_size=60))
def test_noise_cannot_be_read(data):
    with pytest.raises(ConfigError, match="certificate design"):
        parse_design(data)


@pytest.mark.parametrize("hostile", [b"[" * 100_000, b"9" * 5000, b"\xff", b""])
def test_what_is_no_json_is_no_design(hostile):
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_design(hostile)
