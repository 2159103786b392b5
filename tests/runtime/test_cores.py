"""A site with several pairs uses all cores: pairs compute in threads, and kernels hold no lock."""

import importlib
import pkgutil
import threading

import trio
from numba.core.dispatcher import Dispatcher

from mdiqkd_net import postprocessing
from mdiqkd_net.runtime.world import RealWorld


def test_every_kernel_of_post_processing_releases_the_interpreter_lock():
    kernels = {}
    for module in pkgutil.walk_packages(postprocessing.__path__, "mdiqkd_net.postprocessing."):
        found = vars(importlib.import_module(module.name)).items()
        kernels |= {f"{module.name}.{n}": k for n, k in found if isinstance(k, Dispatcher)}
    assert len(kernels) > 10
    assert [name for name, kernel in kernels.items() if not kernel.targetoptions.get("nogil")] == []


async def test_computations_of_two_pairs_run_at_the_same_time():
    both = threading.Barrier(2, timeout=60.0)  # breaks if one waits for the other to end
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(RealWorld().in_thread, both.wait)
