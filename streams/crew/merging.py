"""The metrics of several processes as one text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from ..telemetry.metrics import PROCESS_UP


def merged(texts: Mapping[int, str | None]) -> bytes:
    """Every sample of every process, with the label `process`. `texts`: by process; None where it did not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(texts))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, texts: Mapping[int, str | None]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Family]:
        up = Family(PROCESS_UP.name, PROCESS_UP.help, PROCESS_UP.kind)
        families = {up.name: up}
        for process, text in self._texts.items():
            label = {"process": str(process)}
            up.add_sample(up.name, label, float(text is not None))
            for family in text_string_to_metric_families(text or ""):
                kept = families.setdefault(family.name, Family(family.name, family.documentation, family.type))
                kept.samples += [one._replace(labels=one.labels | label) for one in family.samples]
        yield from families.values()
