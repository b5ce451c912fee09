"""For every test: hypothesis generates the same in each run, no example is timed, a process has one core."""

import contextlib
import os

# torch's threads wait for each other in loops that take the core from the other worker: an export of a tiny
# checkpoint took five times the processor time. What needs more threads asks for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

with contextlib.suppress(ModuleNotFoundError):  # the base installation is tested without it
    from hypothesis import settings

    settings.register_profile("tests", derandomize=True, deadline=None)
    settings.load_profile("tests")
