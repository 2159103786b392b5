"""For all tests: Hypothesis tries the same examples on every run.

A gate that fails by chance teaches people to try again. `--hypothesis-profile=explore` looks for
new counterexamples; those it finds become examples of their own.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(config, items):
    """Leave campaigns out, which take many minutes or much memory, unless -m asks for them."""
    if "campaign" in config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("campaign")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
