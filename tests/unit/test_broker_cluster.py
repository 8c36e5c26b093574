"""What a cluster of embedded brokers is made of, and what it refuses, before a process starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.streams.sandbox import ports
from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.sandbox.cluster import BrokerCluster, WrongNodes, refuse_other_nodes
from bisupervised.streams.sandbox.foreground import run_broker
from bisupervised.streams.sandbox.ports import PortUnavailable

pytestmark = pytest.mark.wheel


def begun(cluster: BrokerCluster, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The properties with which each node would start, in place of the start."""
    monkeypatch.setattr(Broker, "begin", lambda _self, _progress: None)
    monkeypatch.setattr(Broker, "wait_until_ready", lambda _self, _timeout_s: None)
    cluster.start()
    return [node._properties for node in cluster.nodes]


def test_nodes_know_each_other_and_keep_three_copies_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = begun(BrokerCluster(3, tmp_path, properties={"num.io.threads": "3"}), monkeypatch)
    assert [node["node.id"] for node in nodes] == ["1", "2", "3"]
    assert len({node["controller.quorum.voters"] for node in nodes}) == 1
    listeners = [place for node in nodes for place in node["listeners"].split(",")]
    assert len(set(listeners)) == 6
    assert all("://127.0.0.1:" in place for place in listeners)
    for node in nodes:
        factors = {name: value for name, value in node.items() if name.endswith("replication.factor")}
        assert set(factors.values()) == {"3"}
        assert {"default", "offsets.topic", "transaction.state.log"} <= {
            n.removesuffix(".replication.factor") for n in factors
        }
        assert (node["min.insync.replicas"], node["transaction.state.log.min.isr"]) == ("2", "2")
        assert node["num.io.threads"] == "3"


def test_the_nodes_of_a_folder_are_one_cluster_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = (BrokerCluster(3, tmp_path) for _ in range(2))
    begun(first, monkeypatch)
    begun(again, monkeypatch)
    ids = {node._cluster_id for node in (*first.nodes, *again.nodes)}
    assert len(ids) == 1
    assert "" not in ids


def test_further_nodes_take_the_ports_after_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "bind_fault", lambda _port: None)
    cluster = BrokerCluster(3, tmp_path, 9092)
    begun(cluster, monkeypatch)
    assert cluster.bootstrap_servers == "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094"


def test_a_taken_port_of_any_node_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "bind_fault", lambda port: "taken" if port == 9094 else None)
    with pytest.raises(PortUnavailable, match="9094"):
        BrokerCluster(3, tmp_path, 9092).start()
    assert not list(tmp_path.glob("node-*"))


@pytest.mark.parametrize("nodes", [0, 1, 2, 10])
def test_too_few_and_too_many_are_refused(nodes: int) -> None:
    with pytest.raises(WrongNodes, match=f"{nodes} nodes are no cluster.*take 3 to 9, or 1"):
        BrokerCluster(nodes)


def test_data_of_another_number_of_nodes_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    three = tmp_path / "three"
    begun(BrokerCluster(3, three), monkeypatch)
    with pytest.raises(WrongNodes, match="holds the data of a cluster of 3 nodes: start it with --nodes 3"):
        BrokerCluster(5, three).start()
    assert run_broker(0, three, 1) == 1
    assert "a cluster of 3 nodes: start it with --nodes 3, or name another folder" in capsys.readouterr().err
    alone = tmp_path / "alone" / "kafka"
    alone.mkdir(parents=True)
    (alone / "meta.properties").touch()
    with pytest.raises(WrongNodes, match="the data of one broker: start it without --nodes"):
        BrokerCluster(3, alone.parent).start()
    refuse_other_nodes(alone.parent, 1)
    refuse_other_nodes(tmp_path / "new", 3)


def test_a_cluster_that_was_not_started_is_stopped_without_an_error(tmp_path: Path) -> None:
    cluster = BrokerCluster(3)
    assert not cluster.running
    cluster.stop()
    assert not cluster.data_dir.exists()
