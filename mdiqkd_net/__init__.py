"""Measurement-device-independent QKD as a real network stack."""

__version__ = "0.1.0"
