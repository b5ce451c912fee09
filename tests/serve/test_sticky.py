from pointsman.serve.routing.sticky import Stay, Sticky


def test_other_conversations_push_no_private_one_out() -> None:
    sticky = Sticky(60.0)
    private = sticky.key("a", "mine", [])
    sticky.put(private, "local", is_bound=True, is_private=True)
    for number in range(10_001):
        sticky.put(sticky.key("b", str(number), []), "cloud")
    assert sticky.get(private) == Stay("local", True, True)
    assert sticky.get(sticky.key("b", "0", [])) is None


def test_a_conversation_is_forgotten_after_its_time_and_kept_alive_by_each_turn() -> None:
    now = [0.0]
    sticky = Sticky(60.0, lambda: now[0])
    key = sticky.key("a", None, [{"role": "user", "content": "hello"}])
    sticky.put(key, "cloud")
    now[0] = 59.0
    sticky.put(key, "local")
    assert sticky.get(key) == Stay("cloud")
    now[0] = 118.0
    assert sticky.get(key) == Stay("cloud")
    now[0] = 120.0
    assert sticky.get(key) is None


def test_a_conversation_is_the_same_as_a_text_and_as_parts_of_any_protocol() -> None:
    sticky = Sticky(60.0)
    text, marked = {"type": "text", "text": "plan"}, {"cache_control": {"type": "ephemeral"}, "text": "plan"}
    same = ["plan", [text], [{"type": "input_text", "text": "plan"}], [marked]]
    assert len({sticky.key("a", None, [{"role": "user", "content": content}]) for content in same}) == 1
    others = ["plan", "plan b", [], [text, text], [{"type": "image_url", "image_url": "plan"}]]
    keys = {sticky.key("a", None, [{"role": "user", "content": content}]) for content in others}
    assert len(keys) == len(others)
