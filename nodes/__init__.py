"""Shims that run a node from a checkout; never installed."""
