"""A timeout that is put off: it rings when it should, and only then."""

import asyncio
import time

import pytest

from pointsman.serve.edge.idle_timeout import IdleTimeout

LONG_S = 3600.0


def test_what_is_put_off_does_not_ring_and_what_is_not_does() -> None:
    async def work() -> None:
        now = time.monotonic()
        async with IdleTimeout(now + LONG_S, 0.01) as timeout:
            timeout.renew(LONG_S)
            await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            async with IdleTimeout(now + LONG_S, LONG_S) as timeout:
                timeout.renew(0.01)
                await asyncio.sleep(LONG_S)

    asyncio.run(asyncio.wait_for(work(), 20))


def test_a_deadline_is_not_put_off() -> None:
    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with IdleTimeout(time.monotonic() + 0.01, LONG_S) as timeout:
                timeout.renew(LONG_S)
                await asyncio.sleep(LONG_S)

    asyncio.run(asyncio.wait_for(work(), 20))


def test_a_cancellation_is_none_of_its_business() -> None:
    async def work() -> None:
        async with IdleTimeout(time.monotonic() + LONG_S, LONG_S):
            await asyncio.sleep(LONG_S)

    async def cancel() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
