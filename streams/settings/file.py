"""Reading a configuration: one TOML file, overridden by the environment, every fault told at once.

    file ─▶ environment over it ─▶ thresholds file below it ─▶ settings, connection and terms

`BISUPERVISED_<TABLE>__<KEY>` overrides a key of the file (`BISUPERVISED_LOCAL__THRESHOLD=0.9`); lists are
written as JSON there. Nothing is skipped with a warning: a key that is not known here refuses to start.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource

from ...schemas.encodings import NotText, text_of
from ...schemas.errors import ConfigurationError
from .backslashes import backslash_hint, escaped_paths
from .broker import SECURITY, read_connection
from .faults import told, unknown_variable
from .fit import contradictions
from .fit_protocol import unfit_for_protocol
from .keys.protocols import TABLES
from .place import place_of
from .secret import secret_faults, secret_keys, take_written, word_faults
from .tables import Settings
from .terms import terms_of
from .thresholds_file import uncalibrated, with_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from ...agents.terms import Terms
    from ..kafka.connection import Connection
    from .place import Place

ENV_PREFIX = "BISUPERVISED_"
ENV_DELIMITER = "__"


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The table that a key holds, also where it may be left out; None for a key with a plain value."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def all_tables(model: type[BaseModel] = Settings, prefix: str = "") -> dict[str, type[BaseModel]]:
    """Every table of the file by its name, as in `remote.tei`, the outer before the inner; '' is the file itself."""
    tables = {prefix: model}
    for name, field in model.model_fields.items():
        inner = table_of(field)
        if inner is not None:
            tables |= all_tables(inner, f"{prefix}.{name}" if prefix else name)
    return tables


def _known_keys() -> dict[str, dict[str, str]]:
    """Every key as written in the file, by table, with its description; what has no table is under ''."""
    return {
        name: {field.alias or key: field.description or "" for key, field in table.model_fields.items()}
        for name, table in all_tables().items()
    }


KNOWN = _known_keys()
SECRETS = secret_keys(all_tables())
#: stands in for what is required and missing, so that the rest can still be checked; never leaves this module
_STAND_IN: dict[str, dict[str, Any]] = {
    "local": {"model": "module:callable", "threshold": 0.5},
    "remote": {"url": "http://127.0.0.1", "model": "model", "threshold": 0.5},
}


class _Environment(EnvSettingsSource):
    """The overrides of one environment, which is handed in and not read from the process."""

    def __init__(self, env: Mapping[str, str]) -> None:
        super().__init__(Settings, env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER)
        self.env_vars = {name.lower(): value for name, value in env.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ANN401  # as the base
        """Leave text that is not JSON as it stands: validation then names its key with all other faults."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that one reading gave. What the settings name is read with them, once: nothing below reads it again."""

    settings: Settings
    connection: Connection  #: to the broker, with the certificates and the password that the settings name
    terms: Terms  #: what a reload can change, with what only the thresholds file says


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """Where a worker's configuration comes from, to be read again: a file (None: no file), under the environment."""

    path: Path | None

    def load(self) -> Configuration:
        """Raises `ConfigurationError`."""
        return load_configuration(self.path)


def load_settings(path: Path | None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings alone, for who needs neither connection nor terms. Raises `ConfigurationError`, as below."""
    return load_configuration(path, env).settings


def load_configuration(
    path: Path | None, env: Mapping[str, str] | None = None, *, calibrated: bool = True
) -> Configuration:
    """Read a TOML file (None: no file) and an environment (None: the process's own), which wins.

    `calibrated`: False for who makes the thresholds, and needs none. Raises `ConfigurationError` with every fault at
    once, one line each.
    """
    env = os.environ if env is None else env
    written = _read(path)
    faults = _take_capitals(written) + take_written(written, SECRETS) + escaped_paths(written)
    merged = _merged(written, _Environment(env)())
    document, thresholds, unread = with_thresholds(merged if calibrated else uncalibrated(merged))
    origins, unknown = _variables(env)
    settings, faulty, invalid = _validated(document, origins)
    connection, insecure = read_connection(settings.kafka)
    faults += unread + unknown + invalid + _unfit(settings, faulty)
    if not any(table == "kafka" and key.startswith(SECURITY) for table, key in faulty):
        faults += insecure
    if faults and path is None:
        faults.append("--config: no file was named; `bisupervised config > my.toml` begins one")
    if faults:
        raise ConfigurationError(list(dict.fromkeys(faults)))  # a secret that cannot be read has two to tell of it
    return Configuration(settings.read_from(path), connection, terms_of(settings, thresholds))


def _validated(document: dict[str, Any], origins: Mapping[Place, str]) -> tuple[Settings, frozenset[Place], list[str]]:
    """The settings, where they are faulty, and how; what is faulty has been left out of them."""
    try:
        return Settings(**document), frozenset(), []
    except ValidationError as error:
        faulty = _places(error)
        return _settled(document, faulty), faulty, told(_errors(error), KNOWN, origins)


def _unfit(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What is right alone: keys that do not fit together, and secrets that cannot be had or used."""
    return (
        contradictions(settings, faulty)
        + unfit_for_protocol(settings, faulty)
        + secret_faults(settings, SECRETS)
        + word_faults(settings.local, ("local", "api_key"))
        + word_faults(settings.remote, ("remote", "api_key"))
        + word_faults(settings.web, ("web", "token"))
    )


def _errors(error: ValidationError) -> list[ErrorDetails]:
    """Its faults, without the defaults that depend on what is faulty."""
    found = error.errors(include_url=False)
    return [fault for fault in found if fault["type"] != "default_factory_not_called"]


def _places(error: ValidationError) -> frozenset[Place]:
    """What is faulty; of a faulty table, every key."""
    faulty = frozenset(place_of(fault["loc"], KNOWN) for fault in _errors(error))
    return faulty | {(table, key) for _, table in faulty if table in KNOWN for key in KNOWN[table]}


def _read(path: Path | None) -> dict[str, Any]:
    """The file's document. Raises `ConfigurationError` where there is nothing to check."""
    if path is None:
        return {}
    try:
        text = text_of(path.read_bytes())
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    except NotText as error:
        raise ConfigurationError([f"{path}: {error}"]) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: is not TOML: {error}{backslash_hint(text, str(error))}"]) from error


def _take_capitals(document: dict[str, Any]) -> list[str]:
    """Take out `[Budget]` and its like, with a fault for each: pydantic drops them beside `[budget]` in silence."""
    names = {name for name in document if name.lower() != name and name.lower() in {*KNOWN, *KNOWN[""]}}
    for name in names:
        del document[name]
    return [f"{name}: is not known; write {name.lower()}, in lower case" for name in sorted(names)]


def _merged(document: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The file under the environment. Every table is there, so that each missing key is named."""
    merged = _over({table: {} for table in KNOWN if table and "." not in table} | document, overrides)
    for asked in (merged["local"], merged["remote"]):
        if isinstance(asked, dict) and asked.get("protocol") in TABLES:
            asked.setdefault(asked["protocol"], {})
    return merged


def _over(document: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides win; where both have a table, key by key."""
    merged = dict(document)
    for name, override in overrides.items():
        both_tables = isinstance(override, dict) and isinstance(merged.get(name), dict)
        merged[name] = _over(merged[name], override) if both_tables else override
    return merged


def _variables(env: Mapping[str, str]) -> tuple[dict[Place, str], list[str]]:
    """Which variable gave which key, and a fault for each that names no table.

    Variables without the double underscore are left alone: they may belong to somebody else.
    """
    origins: dict[Place, str] = {}
    faults = []
    for variable in (name for name in env if name.upper().startswith(ENV_PREFIX)):
        table, nested, key = variable[len(ENV_PREFIX) :].lower().partition(ENV_DELIMITER)
        if nested and table not in KNOWN:
            faults.append(unknown_variable(variable, table, KNOWN))
        outer, deeper, inner = key.partition(ENV_DELIMITER)
        place = (f"{table}.{outer}", inner) if deeper else (table, key)
        origins[place if nested else ("", table)] = variable
    return origins, faults


def _settled(document: dict[str, Any], faulty: frozenset[Place]) -> Settings:
    """The settings without what is faulty, so that contradictions among the rest are found too.

    What does not hold without that is left out as well, and not told: it may be right once that is.
    """
    while True:
        try:
            return Settings(**_without(document, faulty))
        except ValidationError as error:
            if _places(error) <= faulty:
                raise
            faulty |= _places(error)


def _without(document: dict[str, Any], faulty: frozenset[Place]) -> dict[str, Any]:
    broken = {table for table, _ in faulty}  # of the tables inside tables, whole ones are left out
    settled: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict) and name in KNOWN:
            kept = {key: inner for key, inner in value.items() if f"{name}.{key}" not in broken}
            settled[name] = {key: inner for key, inner in kept.items() if (name, key) not in faulty}
        elif ("", name) not in faulty:
            settled[name] = value
    for table, stand_in in _STAND_IN.items():
        settled[table] = stand_in | settled.get(table, {})
    return settled
