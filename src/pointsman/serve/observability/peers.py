"""What all the processes behind one port have seen: one of them asks the rest, through their parent.

A browser's connections end at any of the processes, and a page with the figures of one process would jump
from one to the other.
"""

from typing import Any

import httpx

from pointsman.errors import UpstreamError

_WAIT_S = 2.0


class Peers:
    """The way to the others.

    Args:
        port: of the parent, on loopback, for its workers alone.
        key: what the workers' admin routes take from each other.
    """

    def __init__(self, port: int, key: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._client = httpx.AsyncClient(trust_env=False, timeout=_WAIT_S)

    async def records(self) -> list[dict[str, Any]]:
        """The figures of every process, this one included; empty where the parent does not answer in time."""
        try:
            answer = await self._client.get(f"{self._url}/admin/live", headers=self._headers)
            return list(answer.raise_for_status().json()["workers"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return []

    async def change(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Tell every process; status and body of the answer.

        Raises:
            UpstreamError: the parent does not answer.
        """
        try:
            answer = await self._client.post(self._url + path, content=body, headers=self._headers)
        except httpx.HTTPError:
            raise UpstreamError("the parent process does not answer") from None
        return answer.status_code, answer.content
