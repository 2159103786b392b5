"""Numbers as people read them: grouped digits, SI prefixes, a dash for what is not known."""

from typing import Final

DASH: Final = "–"

_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E")


def grouped(value: int | None) -> str:
    """1234567 as 1,234,567."""
    return DASH if value is None else f"{value:,}"


def scientific(value: float | None, digits: int = 3) -> str:
    """1.2345e-05 as 1.23e-5."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def percent(value: float | None, decimals: int = 2) -> str:
    """0.0153 as 1.53 %."""
    return DASH if value is None else f"{100 * value:.{decimals}f} %"


def fixed(value: float | None, decimals: int = 3) -> str:
    """A number with so many decimals."""
    return DASH if value is None else f"{value:.{decimals}f}"


def scaled(value: float | None, unit: str) -> str:
    """1234567 and "bit" as 1.23 Mbit; without a unit, 1.23 M."""
    if value is None:
        return DASH
    for prefix in _PREFIXES:
        if abs(value) < 999.5 or prefix == _PREFIXES[-1]:
            break
        value /= 1000
    shown = f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
    return f"{shown} {prefix}{unit}".rstrip()


def seconds(value: float | None) -> str:
    """Seconds; minutes and seconds; or hours and minutes."""
    if value is None:
        return DASH
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
