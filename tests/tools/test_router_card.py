import pytest
from tools.router_card import BEGIN, END, fill_card

from pointsman.errors import DataError


def figure(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


REPORT = {
    "router": "router",
    "command": "pointsman evaluate r",
    "sets": {
        "exam": {
            "rows": 1200,
            "ranking": {"router": {"figures": {"auc": figure(0.6), "apgr": figure(0.61)}}},
            "decisions": {"figures": {"calibration_error": figure(0.02)}},
        }
    },
    "kinds": {"both": {"rows": 1230, "calibration_error": figure(0.04)}},
    "everyday": [
        {"name": "chat", "label": "local", "rows": 30, "figures": {"target_right": figure(0.9)}},
    ],
    "flips": {"figures": {"all edits": figure(0.03)}},
}


def test_a_card_gets_its_figures_and_keeps_its_words():
    card = fill_card(REPORT, f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert card.startswith("before\n")
    assert card.endswith("\nafter\n")
    assert "| exam | 1,200 | 0.600 [0.500, 0.700] | 0.610 [0.510, 0.710] | 0.020" in card
    assert "| both | 1,230 | 0.040 [-0.060, 0.140] |" in card
    assert "| chat | local | 30 | 0.900" in card
    assert "old" not in card
    assert fill_card(REPORT, card) == card


def test_a_card_without_a_place_or_a_report_without_figures_is_refused():
    with pytest.raises(DataError, match="no place for figures"):
        fill_card(REPORT, "nothing here")
    with pytest.raises(DataError, match="the report lacks 'flips'"):
        fill_card({k: v for k, v in REPORT.items() if k != "flips"}, f"{BEGIN}{END}")
