"""A text of another script goes to the safe target with its own reason; English with some of one does not."""

import pytest

from pointsman import Router
from pointsman.decision import Reason
from pointsman.runtime.readability import is_unreadable, word_weights
from pointsman.settings import Settings

UNREADABLE = [
    "谢谢你的帮助", "你好", "你好！！！", "工资 2025", "OK 你好吗", "iPhone 15 如何设置",
    "如何用Python实现快速排序？",
    "ありがとうございます", "東京の天気は?", "ขอบคุณสำหรับความช่วยเหลือ", "مرحبا كيف حالك", "नमस्ते आप कैसे हैं",
    "안녕하세요", "도와주셔서 감사합니다", "Γεια σου κόσμε", "Привет, как дела?", "שלום לך",
    "გამარჯობა", "Բարեւ", "ආයුබෝවන්",
    "😀", "😀😀 😀", "👍🏽", "🎉 🎉 lol 🎉", "∑ ∫", "A" * 150,
]  # fmt: skip
READABLE = [
    "Thanks for your help", "café naïve résumé", "2+2=?", "12345", "???", "√16 + 5 = ?", "x² + y² = z²",
    "Let α, β be the roots of x² + px + q", "def f(x): return x**2", "SELECT * FROM t WHERE id = 3;",
    "for (int i = 0; i < n; i++) sum += a[i];", "How do I say 你好 in Chinese?",
    "What does 谢谢你的帮助 mean?",
    "Translate 'Привет, как дела?' into English", "fix this bug 😀", "great job 🎉🎉", "Wie geht es dir?",
    "¿Cómo estás?", "Tiếng Việt có dấu", "Şimdi ne yapmalıyım?", "https://example.org/a?b=1", "ok",
    "e = mc^2",
    "Meet Zoë at the Café Müller in Kraków", "The Greek letter π is about 3.14", "C'est déjà fini…",
    "a\nb\tc",
]  # fmt: skip


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.open(settings=Settings())


@pytest.mark.parametrize("text", UNREADABLE, ids=ascii)
@pytest.mark.parametrize("safe", ["cloud", "local"])
def test_an_unreadable_text_goes_to_the_safe_target(router: Router, text: str, safe: str) -> None:
    own = Settings(safe_target=safe, confidence_threshold=0.0)
    decision = (router if safe == "cloud" else Router.open(settings=own)).route(text)
    assert (decision.target, decision.reason) == (safe, Reason.UNREADABLE_TEXT)


@pytest.mark.parametrize("text", READABLE, ids=ascii)
def test_a_text_with_some_foreign_words_is_read(router: Router, text: str) -> None:
    assert router.route(text).reason is not Reason.UNREADABLE_TEXT


PIECES = ("[PAD]", "[UNK]", "the", "##ing", "42", "!", "你", "п", "é", "3d", "ʻ")
VOCABULARY = {piece: index for index, piece in enumerate(PIECES)}


def test_each_piece_weighs_by_its_script() -> None:
    assert word_weights(VOCABULARY, ["LATIN"]) == [0, 1, -2, 0, 0, 0, 1, 2, -2, -2, 0]
    assert word_weights(VOCABULARY, ["CYRILLIC", "CJK"]) == [0, 1, 2, 0, 0, 0, -2, -2, 2, 2, 0]
    assert word_weights(VOCABULARY, []) == [0] * 11


@pytest.mark.parametrize(("ids", "found"), [([], False), ([4, 5], False), ([2, 7], False), ([2, 7, 6], True)])
def test_most_of_the_words_decide(ids: list[int], found: bool) -> None:
    assert is_unreadable(ids, word_weights(VOCABULARY, ["LATIN"])) is found
