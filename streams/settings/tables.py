"""The settings: which tables a configuration has. The keys of each are in `keys/`, a class for each table.

Keys that must fit each other are judged in `fit.py`. `file.py` reads them all, `example.py` writes an example of them.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .keys.audit import AuditSettings, ThresholdsSettings
from .keys.batch import BatchSettings
from .keys.events import RegistrySettings, RequestSettings, ResultsSettings
from .keys.kafka import KafkaSettings, StreamSettings, TopicsSettings
from .keys.local import LocalSettings
from .keys.remote import BudgetSettings, RemoteSettings
from .keys.review import ReviewSettings
from .keys.telemetry import LogSettings, WebSettings
from .keys.values import Topic


class Settings(BaseSettings):
    """All settings of a worker. Build it with `load_settings`, or directly in tests."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    name: Topic = Field(default="bisupervised", description="prefix of consumer groups and transactional ids")
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="how to reach the broker")
    topics: TopicsSettings = Field(default=TopicsSettings(), description="names of the topics, and how they are made")
    stream: StreamSettings = Field(default=StreamSettings(), description="how records are moved")
    request: RequestSettings = Field(default=RequestSettings(), description="which parts of a request mean what")
    registry: RegistrySettings = Field(
        default=RegistrySettings(), description="the schema registry of events and results"
    )
    results: ResultsSettings = Field(default=ResultsSettings(), description="how the value of a result is written")
    local: LocalSettings = Field(description="the small model that answers first")
    remote: RemoteSettings = Field(description="the large model behind a network")
    batch: BatchSettings = Field(default=BatchSettings(), description="how the remote is asked in batches")
    budget: BudgetSettings = Field(default=BudgetSettings(), description="the most that the remote may cost")
    audit: AuditSettings = Field(default=AuditSettings(), description="whether the promise is still true")
    review: ReviewSettings = Field(default=ReviewSettings(), description="the page on which people label")
    thresholds: ThresholdsSettings = Field(default=ThresholdsSettings(), description="where the thresholds come from")
    web: WebSettings = Field(default=WebSettings(), description="the worker's page, its health and its metrics")
    log: LogSettings = Field(default=LogSettings(), description="what the worker writes about itself")

    _read_from: Path | None = PrivateAttr(default=None)

    def read_from(self, path: Path | None) -> Self:
        """Note which file they come from; None for no file."""
        self._read_from = path
        return self

    @property
    def follows(self) -> bool:
        """Versions of the thresholds come from their topic, unless a rung is pinned here."""
        return self.thresholds.follow or self.audit.on_alarm == "tighten"

    @property
    def option(self) -> str:
        """What a command must be given to read the same: ` --config FILE`, or '' where no file was named."""
        return "" if self._read_from is None else f" --config {shlex.quote(str(self._read_from))}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing behind the caller's back: `load_settings` says which file and which environment."""
        return (init_settings,)
