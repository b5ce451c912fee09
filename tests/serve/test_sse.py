"""Where events end: nothing is changed, nothing half goes on, and little is held."""

from hypothesis import given
from hypothesis import strategies as st

from pointsman.serve.sse import MAX_EVENT_BYTES, EventRelay

PIECES = st.lists(
    st.sampled_from([b"data: x", b"\n", b"\r", b"\r\n", b"\n\n", b": c", b"\xc3\xbc", b""]), max_size=30
)


@given(PIECES)
def test_pieces_come_out_as_they_went_in_and_whole(pieces: list[bytes]) -> None:
    relay, out = EventRelay(), b""
    for piece in pieces:
        out += relay.feed(piece)
        assert not out or out.endswith((b"\n\n", b"\r\r", b"\n\r", b"\n\r\n"))
    assert out + relay.rest() == b"".join(pieces)


def test_an_endless_event_is_not_held_for_ever() -> None:
    relay, size, held = EventRelay(), 0, 0
    for _ in range(64):
        size += 65_536
        held += 65_536 - len(relay.feed(b"x" * 65_536))
        assert held <= MAX_EVENT_BYTES
    assert size - held >= 2 * MAX_EVENT_BYTES
