"""The figures of several processes become one: by adding up, or by what is worst or farthest."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tailrace.doors.together import WORKERS, Together, told, workers_in


class Figures(Collector):
    def __init__(self, *families: Metric) -> None:
        self.families = families

    def collect(self) -> tuple[Metric, ...]:
        return self.families


def lines(own: Metric, *others: Metric) -> dict[tuple[str, ...], float]:
    """Every line, by its name and the values of its labels."""
    [family] = Together(Figures(own), [told([other]) for other in others]).collect()
    return {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}


def refusals(**counts: int) -> Metric:
    family = CounterMetricFamily("tailrace_refusals", "", labels=["code"])
    for code, count in counts.items():
        family.add_metric([code], count)
    return family


def test_counters_add_up_by_label_and_a_label_that_only_another_has_is_there() -> None:
    assert lines(refusals(a=1, b=2), refusals(b=3, c=4)) == {
        ("tailrace_refusals_total", "a"): 1,
        ("tailrace_refusals_total", "b"): 5,
        ("tailrace_refusals_total", "c"): 4,
    }


def test_histograms_add_up_bucket_by_bucket() -> None:
    one = HistogramMetricFamily("tailrace_publish_seconds", "", [("0.1", 2), ("+Inf", 3)], 1.5)
    assert lines(one, one) == {
        ("tailrace_publish_seconds_bucket", "0.1"): 4,
        ("tailrace_publish_seconds_bucket", "+Inf"): 6,
        ("tailrace_publish_seconds_count",): 6,
        ("tailrace_publish_seconds_sum",): 3.0,
    }


def test_what_all_tell_of_the_one_log_is_told_once() -> None:
    def gauge(name: str, *values: float) -> list[float]:
        own, *others = [GaugeMetricFamily(name, "", value) for value in values]
        return list(lines(own, *others).values())

    assert gauge("tailrace_log_position", 7, 9) == [9]
    assert gauge("tailrace_log_epoch", 2, 2) == [2]
    assert gauge("tailrace_slowest_lag", 7, 3) == [7]
    assert gauge("tailrace_store_up", 1, 0, 1) == [0]
    assert gauge("tailrace_streams", 7, 3) == [10]


def test_only_those_who_serve_are_counted_as_workers() -> None:
    worker = told([GaugeMetricFamily(WORKERS, "", 1), GaugeMetricFamily("tailrace_tasks", "", 5)])
    writer = told([GaugeMetricFamily("tailrace_tasks", "", 5)])
    assert workers_in([worker, worker, writer]) == 2
