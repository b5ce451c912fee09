"""Where events end: nothing is changed, nothing half goes on, and little is held."""

from hypothesis import given
from hypothesis import strategies as st

from pointsman.serve.upstream.sse import MAX_EVENT_BYTES, EventRelay

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


def test_an_event_that_is_too_long_goes_on_as_it_comes() -> None:
    relay, piece = EventRelay(), b"x" * 65_536
    out = b""
    for _ in range(64):
        out += relay.feed(piece)
        assert len(out) % len(piece) == 0
    assert out == piece * 64 and relay.is_in_event
    # From its end on, half events are held again, wherever that end was cut.
    assert relay.feed(b"end\n") == b"end\n"
    assert relay.feed(b"\ndata: a") == b"\n"
    assert not relay.is_in_event
    assert relay.feed(b"b\n\n") == b"data: ab\n\n"


def test_little_is_held() -> None:
    relay, held = EventRelay(), 0
    for _ in range(64):
        held += 65_536 - len(relay.feed(b"x" * 65_536))
        assert held <= MAX_EVENT_BYTES
