"""What all the processes behind one port have seen: one of them asks the rest, through their parent.

A browser's connections end at any of the processes, and a page with the figures of one process would jump
from one to the other.
"""

from typing import Any

import httpx

_WAIT_S = 2.0


class Peers:
    """The way to the others.

    Args:
        port: of the parent, on loopback, for its workers alone.
        key: what the workers' admin routes take from each other.
    """

    def __init__(self, port: int, key: str) -> None:
        self._url = f"http://127.0.0.1:{port}/admin/live"
        self._headers = {"authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(trust_env=False, timeout=_WAIT_S)

    async def records(self) -> list[dict[str, Any]]:
        """Everybody's figures, this process's among them; none where the parent does not answer in time."""
        try:
            answer = await self._client.get(self._url, headers=self._headers)
            return list(answer.raise_for_status().json()["workers"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return []
