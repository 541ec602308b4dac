"""The rules of Prometheus's own linter (`promtool check metrics`), for the text that a scrape answers."""

from __future__ import annotations

import re

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
_RESERVED = ("_count", "_sum", "_bucket")
_OTHER_UNITS = (
    *("milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "weeks"),
    *("kilobytes", "megabytes", "gigabytes", "kibibytes", "mebibytes", "bits", "percent", "celsius_degrees"),
)
_ABBREVIATIONS = ("s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "pct")


def families(text: str) -> list[Metric]:
    """Read what a scrape has answered."""
    return list(text_string_to_metric_families(text))


def lint(text: str) -> list[str]:
    """Return what Prometheus's conventions say against the metrics of an answer.

    Args:
        text: The answer.
    """
    found = families(text)
    problems = [f"{one.name}: {problem}" for one in found for problem in _problems(one, text)]
    names = [one.name for one in found]
    problems += [f"{name}: there twice" for name in sorted({one for one in names if names.count(one) > 1})]
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for one in found:
        for sample in one.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in seen:
                problems.append(f"{sample.name}: a series that is there twice")
            seen.add(key)
    return problems


def _problems(family: Metric, text: str) -> list[str]:
    words = family.name.split("_")
    checks = {
        "no help": not family.documentation.strip(),
        "a help without a sentence": not family.documentation.endswith("."),
        "a name of another form": not _NAME.fullmatch(family.name),
        "the type in the name": any(one in words for one in _TYPES),
        "not a base unit": any(one in words for one in _OTHER_UNITS),
        "a unit that is abbreviated": any(one in words for one in _ABBREVIATIONS),
        "the end of a histogram's series": family.type != "histogram" and family.name.endswith(_RESERVED),
        "a counter without _total": family.type == "counter"
        and f"# TYPE {family.name}_total counter" not in text,
        "_total of something that is no counter": family.type != "counter" and family.name.endswith("_total"),
        "a unit before the end": _has_unit_within(words, "seconds") or _has_unit_within(words, "bytes"),
        "a label of a histogram": any(
            {"le", "quantile"} & one.labels.keys() and not one.name.endswith("_bucket")
            for one in family.samples
        ),
        "a label of another form": any(
            not _NAME.fullmatch(label) for one in family.samples for label in one.labels
        ),
    }
    return [problem for problem, is_there in checks.items() if is_there]


def _has_unit_within(words: list[str], unit: str) -> bool:
    return unit in words and words[-1] != unit
