"""What is counted: Prometheus names, units and buckets, on a registry that is passed in.

Every label comes from a closed set, so no client can make a new series. Values arrive as values; this file
knows nothing of where they come from.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pointsman.serve.inference.engine import Engine
from pointsman.serve.logs import dropped_lines

M = TypeVar("M", Counter, Histogram)

_LATENCY = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_TENTHS = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """The counters and histograms of one gateway; `currency` is the unit of its prices."""

    def __init__(self, registry: CollectorRegistry, currency: str = "USD") -> None:
        self.registry = registry
        self.requests = _counter(registry, "requests", "Answered requests.", ("route", "status"))
        self.request_s = _histogram(registry, "request_seconds", "Whole requests.", ("route",), _LATENCY)
        self.decisions = _counter(
            registry,
            "decisions",
            "Decisions by target, reason and kind of request.",
            ("target", "reason", "kind"),
        )
        self.p_cloud = _histogram(registry, "p_cloud", "Probability of cloud.", (), _TENTHS)
        self.confidence = _histogram(registry, "confidence", "Confidence in the label.", (), _TENTHS[9:])
        self.truncated = _counter(registry, "truncated_inputs", "Texts longer than the model reads.", ())
        self.phase_s = _histogram(
            registry,
            "phase_seconds",
            "Phases: queue and model of a classification, upstream_head of a chat.",
            ("phase", "upstream"),
            _LATENCY,
        )
        self.failures = _counter(registry, "failures", "Answers that were errors, by code.", ("code",))
        self.fallbacks = _counter(
            registry, "fallbacks", "Chats that another upstream answered.", ("wanted", "used", "cause")
        )
        self.hedges = _counter(
            registry, "hedges", "Chats whose upstream was slow: who answered.", ("wanted", "outcome")
        )
        self.upstream = _counter(registry, "upstream_calls", "Calls of upstreams.", ("upstream", "outcome"))
        self.tokens = _counter(registry, "tokens", "Tokens that upstreams reported.", ("upstream", "kind"))
        self.spent = _counter(registry, "spent_money", f"{currency} for answers of upstreams.", ("upstream",))
        self.estimated = _counter(
            registry, "estimated_money", "Of spent_money: of tokens that no upstream reported.", ("upstream",)
        )
        self.saved = _counter(
            registry, "saved_money", f"{currency} that the cloud would have cost, less what was spent.", ()
        )
        self.reloads = _counter(registry, "reloads", "Reloads by outcome.", ("outcome",))
        self.shadow = _counter(registry, "shadow_decisions", "Second opinions.", ("outcome",))
        self.captured = _counter(registry, "captured_chats", "Chats for the captured file.", ("outcome",))
        self.feedback = _counter(registry, "feedback", "Feedback of clients.", ("outcome",))

    def show(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is read at each scrape."""
        Gauge(f"pointsman_{name}", text, registry=self.registry).set_function(read)


class EngineCollector(Collector):
    """Gauges that are read from the engine at each scrape."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """The gauges now."""
        dropped = "Log lines that were dropped, because the reader stopped or nothing could be written."
        yield CounterMetricFamily("pointsman_log_lines_dropped", dropped, value=dropped_lines())
        engine, stats = self._engine, self._engine.batcher.stats
        yield _gauge("queue_depth", "Texts that wait for the model.", engine.batcher.depth)
        yield _gauge("ready", "1 when the classifier answers.", int(engine.is_ready))
        yield _gauge("model_runs", "Runs of the model since the start.", stats.runs)
        yield _gauge("model_texts", "Texts that the model read since the start.", stats.texts)
        yield _gauge("model_run_seconds", "Time in the model since the start.", stats.run_s)
        yield _gauge("queued_seconds", "Time that texts waited since the start.", stats.queued_s)
        yield _gauge(
            "expired_texts", "Requests dropped: their time was over or their client gone.", stats.expired
        )
        if engine.main is not None:
            cache, manifest = engine.main.cache, engine.main.router.manifest
            drift = engine.main.drift.index
            if drift is not None:
                yield _gauge(
                    "drift_index", "Population stability index of recent p_cloud, this version.", drift
                )
            yield _gauge("cache_hits", "Decisions from the cache, this version.", cache.hits)
            yield _gauge("cache_misses", "Decisions not in the cache, this version.", cache.misses)
            yield _gauge("cache_entries", "Decisions in the cache.", len(cache))
            info = GaugeMetricFamily(
                "pointsman_model_info", "The loaded artifact.", labels=("artifact", "version", "variant")
            )
            info.add_metric((manifest.name, engine.main.version, engine.main.router.variant), 1)
            yield info


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pointsman_{name}", text, value=value)


def _counter(registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]) -> Counter:
    return _remembered(Counter(f"pointsman_{name}", text, labels, registry=registry))


def _histogram(
    registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
) -> Histogram:
    return _remembered(Histogram(f"pointsman_{name}", text, labels, buckets=buckets, registry=registry))


def _remembered(metric: M) -> M:
    """The metric with its series found by one look-up: the labels are of closed sets, and asked for often."""
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric
