"""Whole networks in one process and in virtual time, from a seed, with faults."""
