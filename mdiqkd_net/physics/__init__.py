"""What light does: settings, amplitudes, fibers, interference, clicks. Pure functions."""
