"""When a keyword of a rule is in a text."""

import re

import pytest
from tests.support.lookalikes import module
from tests.support.places import ROOT

from pointsman.errors import SettingsError
from pointsman.serve.routing.folding import folded
from pointsman.serve.routing.keywords import compile_keyword, readings, spellings


def is_in(keyword: str, text: str) -> bool:
    forms = map(compile_keyword, spellings(keyword))
    return any(form.is_in(reading) for form in forms for reading in readings(folded(text)))


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("sk-", "the key sk-proj-abc"),
        ("sk-", "the key sk\u2011proj"),
        ("@corp.com", "mail bob@corp.com now"),
        ("C++", "written in C++ and Go"),
        ("payroll", "payroll_2025.csv"),
        ("payroll", "2025payroll"),
        ("payroll", "myPayrollData"),
        ("payroll", "HTMLPayroll"),
        ("payroll", "getPayRoll()"),
        ("payroll", "--payroll-file=x"),
        ("payroll", "p\u0336a\u0336y\u0336r\u0336oll"),
        ("payroll", "pay\u200broll, pay\u00adroll"),
        ("payroll", "pay\ufe0froll"),
        ("payroll", "ｐａｙｒｏｌｌ"),
        ("payroll", "𝓹𝓪𝔂𝓻𝓸𝓵𝓵"),
        ("payroll", "ᴘᴀʏʀᴏʟʟ"),
        ("payroll", "🇵🇦🇾🇷🇴🇱🇱"),
        ("payroll", "⒫⒜⒴⒭⒪⒧⒧"),
        ("O'Brien", "Mrs O\u2019Brien"),
        ("O\u2019Brien", "Mrs O'Brien"),
        ("O'Brien", "Mrs O\u02bcBrien"),
        ("payroll", "🅿🅰🆈🆁🅾🅻🅻"),
        ("payroll", "p\u0430yr\u043ell"),
        ("payroll", "\u0420\u0410YROLL"),
        ("payroll", "P A Y R O L L"),
        ("payroll", "p.a.y.r.o.l.l"),
        ("payroll", "pay-\nroll"),
        ("payroll", "pay-\n> roll"),
        ("payroll", "the **pay**roll"),
        ("payroll", "工资payroll表"),
        ("payroll", "the\u3164payroll\u3164file"),
        ("office", "o\ufb03ce"),
        ("2025", "٢٠٢٥"),
        ("工资", "我的工资是多少"),
        ("工资", "工\n资"),
        ("给料", "给 料"),
        ("급여", "급여를 알려줘"),
        ("ガス", "ｶﾞｽ"),
        ("給料", "私の給料は"),
        ("เงินเดือน", "ขอดูเงินเดือนของฉัน"),
        ("راتب", "والراتب"),
        ("משכורת", "המשכורת"),
        ("वेतन", "मेरा वेतन कितना है"),
        ("annual bonus", "annual\n\n  bonus"),
        ("annual bonus", "annual\u00a0bonus"),
        ("annual bonus", "Annual-Bonus"),
        ("annual bonus", "annualBonus"),
        ("annual bonus", "annual_bonus.csv"),
        ("annual bonus", "annualbonus"),
        ("annual bonus", "annual **bonus**"),
        ("top-secret", "top secret"),
        ("年度 奖金", "年度奖金"),
        ("Straße", "STRASSE"),
        ("strasse", "Straße"),
        ("kimlik", "KİMLİK"),
        ("ısı", "ISI"),
        ("μισθός", "ΜΙΣΘΟΣ"),
        ("ΜΙΣΘΟΣ", "μισθός"),
        ("зарплата", "ЗАРПЛАТА"),
        ("зарплата", "з\u0061рплата"),
        ("résumé", "re\u0301sume\u0301"),
        ("résumé", "RESUME"),
        ("resume", "résumé"),
        ("lương", "lu\u031bo\u031bng"),
        ("lương", "luong"),
        ("🔒", "this is 🔒"),
        ("payroll", "p, a, y, r, o, l, l"),
        ("payroll", '["p","a","y","r","o","l","l"]'),
        ("payroll", "pay==roll==, pay||roll||, pay\\-roll"),
        ("payroll", "p\u0345\u0363a\u0345yroll"),
        ("payroll", "ꓑꓮꓬꓣꓳꓡꓡ"),
        ("4111111111111111", "card 4111 1111 1111 1111"),
        ("4111111111111111", "card 4111-1111-1111-1111"),
        ("4111 1111 1111 1111", "card 4111111111111111"),
        ("DE89370400440532013000", "de89 3704 0044 0532 0130 00"),
        ("+49 170 1234567", "+49 (170) 123 45 67"),
        ("555-0199", "(555) 0199"),
        ("windows11", "Windows 11"),
        ("corp.com", "hxxp://corp[.]com"),
        ("10.1.2.3", "10[.]1[.]2[.]3"),
        ("Müller", "Frau Mueller"),
        ("GEHÄLTER", "die Gehaelter"),
        ("Søren", "Soeren, SOREN"),
        ("cœur", "coeur"),
        ("coeur", "CŒUR"),
        ("encyclopædia", "encyclopaedia"),
        ("ᾳδω", "ΑΔΩ"),
        ("ک\u06cc", "ك\u064a"),
    ],
)
def test_it_is_found_however_it_is_spelled(keyword: str, text: str) -> None:
    assert is_in(keyword, text)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("sk-", "risk-taking, desk-bound, ask-me"),
        ("@corp.com", "bob@corp.company"),
        ("pay", "payroll, repay, Payton, payable"),
        ("pay", "pay\u00adroll"),
        ("payroll", "payrolls"),
        ("art", "Kartoffel, party, heart"),
        ("hr", "three, chrome, thread"),
        ("2025", "120251"),
        ("annual bonus", "It is annual. Bonus time!"),
        ("annual bonus", "annual, bonus"),
        ("no one", "noone"),
        ("lương", "lượng"),
        ("급", "긐"),
        ("カス", "ガス"),
        ("ハス", "バス"),
        ("वतन", "वेतन"),
        ("payroll", "pay a roll of coins"),
        ("4111111111111111", "4111 1111 1111 11112"),
        ("4111111111111111", "14111 1111 1111 1111"),
        ("12345678", "1234 567 8901"),
        ("2024", "20 24 apples"),
        ("555-0199", "15550199"),
        ("10.1.2.3", "110.1.2.34"),
        ("Müller", "Muesli"),
        ("team", "a tea. M"),
    ],
)
def test_it_is_not_found_where_it_is_not(keyword: str, text: str) -> None:
    assert not is_in(keyword, text)


def documented() -> list[tuple[str, str, str]]:
    """The rows of the documentation's table: a keyword, and what it is and is not in."""
    page = (ROOT / "docs/gateway.md").read_text(encoding="utf-8")
    table = page.partition("<!-- keywords -->")[2].partition("<!-- /keywords -->")[0]
    rows = [line.split(" | ") for line in table.strip().splitlines()[2:]]
    return [(first.strip("| `"), held, lacking) for first, held, lacking, _ in rows]


@pytest.mark.parametrize(("keyword", "held", "lacking"), documented())
def test_the_documented_table_is_true(keyword: str, held: str, lacking: str) -> None:
    texts, others = re.findall("`([^`]+)`", held), re.findall("`([^`]+)`", lacking)
    assert texts
    assert others
    assert [text for text in texts if not is_in(keyword, text)] == []
    assert [text for text in others if is_in(keyword, text)] == []


@pytest.mark.parametrize("keyword", ["\u200b", "\u00ad\ufe0f", " ", "\x00"])
def test_a_keyword_that_cannot_be_seen_is_refused(keyword: str) -> None:
    with pytest.raises(SettingsError, match="can be seen"):
        compile_keyword(keyword)


@pytest.mark.parametrize(
    "unit", ["a\u0301\u0327", "\u0301", "\ufdfa", "payrol ", "p\u0301", "工", "p a y r o l ", "\x1f", "aB"]
)
def test_a_long_text_of_the_worst_kinds_is_read_in_linear_time(unit: str) -> None:
    """A way that is quadratic in these texts would take hours."""
    assert not is_in("payroll", f"{unit * 60_000} payr0ll payrol 1")


def test_the_table_of_lookalikes_is_what_its_generator_writes() -> None:
    pytest.importorskip("confusable_homoglyphs")
    written = (ROOT / "src/pointsman/serve/routing/lookalikes.py").read_text(encoding="utf-8")
    assert written == module()
