"""Experiments and measurements on this machine.

The light against closed forms, light and post-processing against the clock.
"""
