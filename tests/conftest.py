"""For every test: what hypothesis generates is the same in each run, and no example is timed."""

import contextlib

with contextlib.suppress(ModuleNotFoundError):  # the base installation is tested without it
    from hypothesis import settings

    settings.register_profile("tests", derandomize=True, deadline=None)
    settings.load_profile("tests")
