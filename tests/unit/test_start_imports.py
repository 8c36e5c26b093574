"""A worker that has JSON, a callable and no audit starts without what it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

#: of the optional packages, the modules that are imported
OPTIONAL = (
    *("torch", "transformers", "PIL", "onnxruntime", "tokenizers", "fastavro", "grpc_tools", "google.protobuf"),
    *("matplotlib", "pyarrow", "sklearn", "jgo", "opentelemetry.sdk"),
)
#: of ours, what belongs to settings that most do not have
OURS = (
    *("agents.local.formats.hugging_face", "agents.local.formats.onnx_files", "agents.local.formats.torch_files"),
    *("agents.events", "streams.logins.sources", "streams.auditor.auditor", "streams.providers"),
    *("agents.remote.bulk", "streams.worker.batches"),
)


def test_a_worker_loads_no_optional_package_and_no_part_that_its_settings_do_not_want() -> None:
    code = "import json, sys; import bisupervised.streams.worker.app; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(told))
    assert "bisupervised.streams.worker.app" in loaded
    assert not loaded & {*OPTIONAL, *(f"bisupervised.{name}" for name in OURS)}


def test_none_of_it_comes_with_the_package_itself() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    core = " ".join(project["dependencies"])
    extras = ("torch", "transformers", "onnx", "registry", "parquet", "plot", "broker")
    named = [
        line.split(">")[0].split("=")[0]
        for extra in extras
        for line in project["optional-dependencies"][extra]
        if not line.startswith("bisupervised")
    ]
    assert len(named) > 8
    assert [name for name in named if name in core] == []
