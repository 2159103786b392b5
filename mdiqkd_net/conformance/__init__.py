"""Conformance: numbered cases that any node of the protocol can be held against, over TCP."""
