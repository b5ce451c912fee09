"""One bound on the bodies and the answers of all requests together: the newest gives way."""

from pointsman.serve.failures import GatewayError

_SMALL_BYTES = 2**16


class MemoryBudget:
    """Bytes that requests hold now.

    Args:
        most_bytes: of all requests together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    def take(self, size: int, held_bytes: int = 0) -> None:
        """Count bytes that are about to be held.

        Args:
            held_bytes: what the same request holds already; an eighth of the room is for small ones.

        Raises:
            GatewayError: `overloaded`: there is no room; the connection closes, for more may be on its way.
        """
        is_small = held_bytes + size <= _SMALL_BYTES
        room = self._most_bytes if is_small else self._most_bytes - self._most_bytes // 8
        if self.held_bytes + size > room:
            error = GatewayError("overloaded", "too many large requests and answers are in memory; try again")
            error.headers.append((b"connection", b"close"))
            raise error
        self.held_bytes += size

    def give_back(self, size: int) -> None:
        """Count bytes that are held no more."""
        self.held_bytes -= size
