"""Experiments on the simulated light whose outcome is known in closed form."""
