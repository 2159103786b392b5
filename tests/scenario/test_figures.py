import pytest

from mdiqkd_net.scenario import figures


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (figures.grouped(1234567), "1,234,567"),
        (figures.scientific(1.2345e-5), "1.23e-5"),
        (figures.scientific(0.0), "0"),
        (figures.percent(0.0153), "1.53 %"),
        (figures.fixed(1.23456, 2), "1.23"),
        (figures.scaled(1_234_567, "bit"), "1.23 Mbit"),
        (figures.scaled(10**9, "Hz"), "1 GHz"),
        (figures.scaled(999.7, "B"), "1 kB"),
        (figures.scaled(999.2, "B"), "999 B"),
        (figures.scaled(0, "B"), "0 B"),
        (figures.scaled(1_234_567, ""), "1.23 M"),
        (figures.scaled(50, ""), "50"),
        (figures.scaled(1e21, "B"), "1000 EB"),
        (figures.seconds(9.96), "10.0 s"),
        (figures.seconds(135.2), "2 min 15 s"),
        (figures.seconds(3599.8), "1 h 00 min"),
    ],
)
def test_numbers_are_written_for_people(found, expected):
    assert found == expected


@pytest.mark.parametrize(
    "show", [figures.grouped, figures.scientific, figures.percent, figures.fixed, figures.seconds]
)
def test_what_is_not_known_is_a_dash(show):
    assert show(None) == figures.DASH
    assert figures.scaled(None, "B") == figures.DASH
