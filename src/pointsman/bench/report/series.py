"""What charts and plots draw, as data: the bars of a scenario, and time over length."""

from pointsman.bench.results import Backend, Benchmark, Kind, Scenario


def bars(benchmark: Benchmark, scenario: Scenario) -> list[tuple[Backend, float, str]]:
    """The backends that were measured in a scenario, in the order of tables, without bare products.

    Each with the median of a call (the mean of a mix) in nanoseconds, and how many times faster than the
    first it is, for example `3.1x`; empty for the first.
    """
    found: list[tuple[Backend, float, str]] = []
    for backend in _drawn(benchmark):
        if (summary := benchmark.summary(backend.name, scenario)) is None:
            continue
        ratio = benchmark.time_ratio(found[0][0].name, backend.name, scenario) if found else None
        faster = "" if ratio is None else f"{ratio.median:.1f}x"
        found.append((backend, summary.mean if scenario.is_mix else summary.p50, faster))
    return found


def over_length(benchmark: Benchmark) -> list[tuple[Backend, list[tuple[int, float]]]]:
    """Tokens and median milliseconds of one query, on the fewest threads there are, two points at least."""
    singles = [
        one for one in benchmark.scenarios if one.kind is Kind.LATENCY and one.batch == 1 and not one.is_mix
    ]
    fewest = min((one.threads for one in singles), default=0)
    found = []
    for backend in _drawn(benchmark):
        points = sorted(
            (one.lengths[0], summary.p50 / 1e6)
            for one in singles
            if one.threads == fewest and (summary := benchmark.summary(backend.name, one)) is not None
        )
        if len(points) > 1:
            found.append((backend, points))
    return found


def _drawn(benchmark: Benchmark) -> list[Backend]:
    return [one for one in benchmark.backends if not one.name.endswith("_products")]
