"""The router: any text gets an answer or an error, the same one in whatever company it comes."""

import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.graphs import summed
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT, build_tiny_artifact

from pointsman.artifact.layout import FOLDED, TOKENIZER
from pointsman.artifact.manifest import Calibration, Chat, Limits
from pointsman.artifact.store import Artifact, seal, staged
from pointsman.decision import Reason
from pointsman.errors import ArtifactError, InputError, NonFiniteOutputError, SettingsError
from pointsman.policy import Policy
from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig
from pointsman.settings import Settings

ONE = SessionConfig(threads=1)
VOCABULARY = 12


def opened(artifact: Artifact, **how: Any) -> Router:
    return Router.open(artifact, session=ONE, settings=how.pop("settings", Settings()), **how)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build_tiny_artifact(tmp_path_factory.mktemp("router") / "router")


@pytest.fixture(scope="module")
def router(artifact: Artifact) -> Router:
    return opened(artifact)


def remade(artifact: Artifact, path: Path, model: bytes | None = None, **manifest: Any) -> Artifact:
    """The artifact with another model or other facts in its manifest."""
    with staged(path) as stage:
        shutil.copytree(artifact.path, stage, dirs_exist_ok=True)
        (stage / "manifest.json").unlink()
        if model is not None:
            (stage / FOLDED).write_bytes(model)
        return seal(stage, path, replace(artifact.manifest, **manifest))


def test_it_decides(router: Router) -> None:
    local, cloud = router.route_many([LOCAL_TEXT, CLOUD_TEXT])
    assert (local.target, cloud.target) == ("local", "cloud")
    assert cloud.p_cloud == pytest.approx(1 / (1 + np.exp(-5)))
    assert (cloud.tokens, cloud.truncated, cloud.reason) == (5, False, Reason.MODEL)


words = st.lists(
    st.sampled_from(["hello", "thanks", "play", "analyze", "plan", "the", "unknown"]), max_size=80
).map(" ".join)


@settings(deadline=None, max_examples=40)
@given(st.lists(words | st.text(max_size=40), max_size=25))
def test_the_company_changes_no_answer_and_the_order_is_kept(router: Router, texts: list[str]) -> None:
    """Batch and padding invariance: what is padded beside a text must not be read."""
    assert router.route_many(texts) == [router.route(text) for text in texts]


@pytest.fixture(scope="module")
def routers(artifact: Artifact) -> list[Router]:
    return [Router.open(artifact, session=SessionConfig(threads=n), settings=Settings()) for n in (1, 2, 5)]


@settings(deadline=None, max_examples=20)
@given(st.lists(words | st.text(max_size=400), max_size=60))
def test_the_number_of_threads_changes_no_bit(routers: list[Router], texts: list[str]) -> None:
    one, *others = [router.logits(texts).tobytes() for router in routers]
    assert others == [one] * len(others)


@settings(deadline=None, max_examples=20)
@given(st.lists(words, min_size=1, max_size=15), st.randoms(use_true_random=False))
def test_another_order_gives_the_same_answers_in_that_order(
    router: Router, texts: list[str], chance: Any
) -> None:
    order = list(range(len(texts)))
    chance.shuffle(order)
    decisions = router.route_many(texts)
    assert router.route_many([texts[i] for i in order]) == [decisions[i] for i in order]


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(), max_size=60))
def test_any_text_is_answered(router: Router, text: str) -> None:
    decision = router.route(text)
    assert decision.target in ("local", "cloud")
    assert 0.0 <= decision.p_cloud <= 1.0
    assert 2 <= decision.tokens <= 64


@pytest.mark.parametrize("token", ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"])
def test_a_special_token_that_somebody_wrote_is_text(token: str) -> None:
    plain, written = Router.open().encode(["a b", f"a {token} b"])
    assert written.ids[0] == plain.ids[0] and written.ids[-1] == plain.ids[-1]
    assert len(written.ids) >= len(plain.ids) + 3
    assert not {0, 100, 101, 102, 103} & set(written.ids[1:-1])


@pytest.mark.parametrize("text", ["", " ", "\n\t \r", "\0", "\u200b" * 3, "\x07\x1b"], ids=ascii)
def test_nothing_to_read_goes_to_the_safe_target(artifact: Artifact, text: str) -> None:
    for safe in ("local", "cloud"):
        decision = opened(artifact, policy=Policy(safe_target=safe)).route(text)
        assert (decision.target, decision.reason, decision.tokens) == (safe, Reason.EMPTY_TEXT, 2)


@pytest.mark.parametrize(
    "text",
    [
        "\ud800",
        "a\udfffb",
        "👩‍👩‍👧‍👦" * 50,
        "مرحبا بالعالم",
        "שלום\u202e",
        "a\0b",
        "e\u0301" * 99,
        "\U0010ffff",
    ],
    ids=ascii,
)
def test_strange_text_is_answered_in_strange_company(router: Router, text: str) -> None:
    before, strange, after = router.route_many([LOCAL_TEXT, text, CLOUD_TEXT])
    assert strange == router.route(text)
    assert (before, after) == (router.route(LOCAL_TEXT), router.route(CLOUD_TEXT))


@pytest.mark.parametrize("text", ["!" * 1_000_000, "plan " * 200_000, "x" * 1_000_000], ids=len)
def test_a_megabyte_is_cut_and_said_to_be(router: Router, text: str) -> None:
    decision = router.route(text)
    assert decision.truncated
    assert decision.tokens <= 64


def test_the_beginning_of_a_long_text_decides(router: Router) -> None:
    decision = router.route("analyze " * 62 + "hello " * 500)
    assert (decision.label, decision.tokens, decision.truncated) == ("cloud", 64, True)
    assert not router.route("analyze " * 62).truncated
    assert router.route("analyze " * 63).truncated


@pytest.mark.parametrize("text", [None, 5, b"hello", ["hello"]])
def test_what_is_no_text_is_an_error_that_names_its_place(router: Router, text: Any) -> None:
    with pytest.raises(InputError, match=f"text 1: expected a string, found {type(text).__name__}"):
        router.route_many(["hello", text])


def test_one_string_is_not_many(router: Router) -> None:
    with pytest.raises(InputError, match="one string"):
        router.route_many("hello")
    with pytest.raises(InputError):
        next(router.route_stream("hello"))


def test_nothing_asked_nothing_answered(router: Router) -> None:
    assert router.route_many([]) == []
    assert list(router.route_stream([])) == []
    assert router.logits([]).shape == (0, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_that_answers_no_number_is_an_error(artifact: Artifact, tmp_path: Path, value: float) -> None:
    table = np.zeros((VOCABULARY, 2))
    table[8, 1] = value  # `analyze` only
    broken = opened(remade(artifact, tmp_path / "broken", summed(table)))
    assert broken.route("hello").p_cloud == 0.5
    with pytest.raises(NonFiniteOutputError, match="1 of 2 texts"):
        broken.route_many(["hello", "analyze"])


@pytest.mark.parametrize("columns", [1, 3])
def test_a_model_of_other_classes_is_an_error(artifact: Artifact, tmp_path: Path, columns: int) -> None:
    other = opened(remade(artifact, tmp_path / "other", summed(np.zeros((VOCABULARY, columns)))))
    with pytest.raises(ArtifactError, match=r"expected logits of shape \(1, 2\)"):
        other.route("hello")


def test_a_model_of_a_smaller_vocabulary_is_an_error(artifact: Artifact, tmp_path: Path) -> None:
    small = opened(remade(artifact, tmp_path / "small", summed(np.zeros((4, 2)))))
    with pytest.raises(ArtifactError, match="cannot run"):
        small.route("analyze the plan")


def test_an_export_that_asks_for_token_types_runs(artifact: Artifact, tmp_path: Path) -> None:
    table = np.zeros((VOCABULARY, 2))
    table[8, 1] = 3.0
    model = summed(table, ("input_ids", "token_type_ids"))
    assert opened(remade(artifact, tmp_path / "typed", model)).route("analyze").label == "cloud"


def test_labels_in_the_other_order_turn_the_meaning(
    artifact: Artifact, tmp_path: Path, router: Router
) -> None:
    labels = type(artifact.manifest.labels)(("cloud", "local"))
    turned = opened(remade(artifact, tmp_path / "turned", labels=labels)).route(CLOUD_TEXT)
    assert turned.label == "local"
    assert turned.p_cloud == pytest.approx(1.0 - router.route(CLOUD_TEXT).p_cloud)


def test_the_calibration_is_applied(artifact: Artifact, tmp_path: Path) -> None:
    calibration = Calibration("platt", 0.5, 0.25, "d" * 64, 10)
    decision = opened(remade(artifact, tmp_path / "calibrated", calibration=calibration)).route("plan")
    assert decision.p_cloud == pytest.approx(1 / (1 + np.exp(-(0.5 * 2 + 0.25))))


def test_a_huge_margin_is_a_probability(artifact: Artifact, tmp_path: Path) -> None:
    table = np.zeros((VOCABULARY, 2))
    table[:, 1] = 1e37
    sure = opened(remade(artifact, tmp_path / "sure", summed(table))).route("hello")
    assert (sure.p_cloud, sure.confidence) == (1.0, 1.0)


class Counted:
    """A stream of texts that knows how many were taken."""

    def __init__(self, size: int) -> None:
        self.size, self.taken = size, 0

    def __iter__(self) -> Iterator[str]:
        for number in range(self.size):
            self.taken += 1
            yield CLOUD_TEXT if number % 3 == 0 else LOCAL_TEXT


def test_a_stream_is_read_at_most_one_chunk_ahead(router: Router) -> None:
    """50,000 texts, of which never more than a chunk is held: constant memory."""
    texts, seen = Counted(50_000), 0
    for decision in router.route_stream(texts, chunk=500):
        assert decision.label == ("cloud" if seen % 3 == 0 else "local")
        seen += 1
        assert texts.taken - seen < 500
    assert seen == 50_000


def test_a_stream_may_be_left_in_the_middle(router: Router) -> None:
    texts = Counted(1000)
    stream = router.route_stream(texts, chunk=10)
    assert texts.taken == 0
    next(stream)
    assert texts.taken == 10


@pytest.mark.parametrize("chunk", [0, -1, 1.5, "2", None, 10**30])
def test_a_chunk_of_nothing_is_refused(router: Router, chunk: Any) -> None:
    with pytest.raises(InputError, match="chunk"):
        next(router.route_stream(["hello"], chunk=chunk))


def test_a_chat_is_read_as_the_artifact_says(artifact: Artifact, tmp_path: Path, router: Router) -> None:
    messages = [
        {"role": "system", "content": "analyze the plan"},
        {"role": "user", "content": "analyze"},
        {"role": "assistant", "content": "plan plan plan"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ]
    assert router.route_chat(messages) == router.route("hello")
    turns = opened(remade(artifact, tmp_path / "turns", chat=Chat(1)))
    assert turns.route_chat(messages) == turns.route("analyze hello")
    assert router.route_chat([]).reason is Reason.EMPTY_TEXT


def test_a_variant_that_is_not_there_is_said(artifact: Artifact) -> None:
    with pytest.raises(SettingsError, match=r"variant 'int8'.*\['folded'\]"):
        opened(artifact, variant="int8")


def test_fewer_tokens_may_be_asked_for_but_not_more(artifact: Artifact) -> None:
    assert opened(artifact, settings=Settings(max_tokens=3)).route("hello plan").tokens == 3
    with pytest.raises(SettingsError, match="at most 64 tokens, found 65"):
        opened(artifact, settings=Settings(max_tokens=65))


def test_the_characters_are_limited_before_the_tokenizer(artifact: Artifact, tmp_path: Path) -> None:
    short = opened(remade(artifact, tmp_path / "short", limits=Limits(64, 64)))
    assert short.route(" " * 64 + "hello").reason is Reason.EMPTY_TEXT
    assert short.route(" " * 64 + "hello").truncated


def test_a_tokenizer_that_is_none_is_an_error(artifact: Artifact, tmp_path: Path) -> None:
    with staged(tmp_path / "bad") as stage:
        shutil.copytree(artifact.path, stage, dirs_exist_ok=True)
        (stage / "manifest.json").unlink()
        (stage / TOKENIZER).write_text('{"model": 5}', encoding="utf-8")
        bad = seal(stage, tmp_path / "bad", artifact.manifest)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        opened(bad)


@pytest.mark.parametrize(
    "make",
    [lambda t: (x for x in t), lambda t: dict(enumerate(t)).values(), tuple, np.array, iter, deque, reversed],
)
def test_any_texts_in_an_order_are_answered(router: Router, make: Any) -> None:
    texts = ["hello", "plan"]
    assert router.route_many(make(texts)) == router.route_many(list(make(texts)))
    assert len(router.route_many(make(texts))) == 2


@pytest.mark.parametrize(
    "texts", ["hello", b"hello", None, 5, {"hello"}, {"hello": 1}, ["hello", None], [b"hello"], [["hello"]],
              np.array([["hello"]]), np.array("hello"), (None for _ in range(1)), object()],
    ids=lambda texts: type(texts).__name__,
)  # fmt: skip
def test_what_is_no_list_of_texts_is_refused(router: Router, texts: Any) -> None:
    with pytest.raises(InputError, match=r"expected (a list of |a )?strings?"):
        router.route_many(texts)


@pytest.mark.parametrize(
    "texts", ["hello", b"hello", bytearray(b"x"), None, 5, {"hello"}, {"hello": 1}, np.array("hello")],
    ids=lambda texts: type(texts).__name__,
)  # fmt: skip
def test_what_is_no_stream_of_texts_is_refused(router: Router, texts: Any) -> None:
    with pytest.raises(InputError, match=r"expected (a list of )?strings"):
        next(router.route_stream(texts))


@pytest.mark.parametrize(
    "messages", [None, 5, "hello", b"hello", {"role": "user", "content": "hello"}, ["hello"], [None],
                 [("user", "hello")], [{"role": "user", "content": "hello"}, b"x"]],
    ids=str,
)  # fmt: skip
def test_what_is_no_list_of_messages_is_refused(router: Router, messages: Any) -> None:
    with pytest.raises(InputError, match=r"messages?( \d)?: expected a (list|table)"):
        router.route_chat(messages)


@pytest.mark.parametrize(
    "wrong",
    [
        {"variant": ["folded"]}, {"policy": {"cloud_threshold": 0.5}}, {"session": "cpu"}, {"settings": {}},
        {"artifact": b"router"}, {"artifact": 5}, {"artifact": True}, {"settings": Settings(model_path=5)},
    ],
    ids=str,
)  # fmt: skip
def test_an_argument_of_another_kind_is_refused(artifact: Artifact, wrong: Any) -> None:
    given = {"settings": Settings(model_path=artifact.path), **wrong}
    with pytest.raises(SettingsError, match="expected"):
        Router.open(given.pop("artifact", None), **given)
