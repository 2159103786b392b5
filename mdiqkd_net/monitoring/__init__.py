"""Monitors MON-01 to MON-10: what public figures say about a relay and its link.

They look at blocks that have ended, and nothing that a key depends on looks at them.
"""
