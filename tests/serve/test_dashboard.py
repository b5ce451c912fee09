"""The Grafana dashboard asks for what the gateway has."""

import json
import re
from importlib.resources import files

import numpy as np
import pytest
from tests.support.running import Running
from tests.support.tiny_artifact import CLOUD_TEXT

from pointsman.evaluation.threshold import held_out_curve
from pointsman.serve.inference.drift import Drift

_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def queries() -> list[str]:
    template = files("pointsman.deploy").joinpath("templates/docker/grafana/pointsman.json.tmpl")
    panels = json.loads(template.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_query_names_a_series_and_labels_that_exist(plain: Running) -> None:
    model = plain.gateway.engine.current
    kept, scores = model.drift, np.linspace(0.0, 1.0, 400)
    model.drift = Drift({"curve": held_out_curve(scores, None, "d")})
    try:
        for score in scores:
            model.drift.observe(float(score))
        plain.http.post("/predict", json={"query": CLOUD_TEXT})
        text = plain.admin.get("/metrics").text
    finally:
        model.drift = kept
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    known = {name + suffix for name, kind in kinds.items() for suffix in _SUFFIXES[kind]}
    asked = {name for query in queries() for name in re.findall(r"pointsman_\w+", query)}
    assert asked <= known
    assert {
        "pointsman_drift_index",
        "pointsman_saved_money_total",
        "pointsman_fallbacks_total",
        "pointsman_hedges_total",
    } <= asked


@pytest.mark.parametrize("query", queries())
def test_every_label_that_is_grouped_by_exists(query: str, plain: Running) -> None:
    metrics = plain.gateway.metrics
    labels = {"le", "worker", "target", "reason", "kind"}
    for metric in vars(metrics).values():
        labels |= set(getattr(metric, "_labelnames", ()))
    for group in re.findall(r"by \(([^)]*)\)", query):
        assert {name.strip() for name in group.split(",")} <= labels
