"""Change the version of Kafka: `.venv/bin/python scripts/kafka_jars.py 4.4.0` writes streams/sandbox/kafka.json."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from bisupervised.streams.sandbox.kafka_jars import download, sha256_of

TARGET = Path(__file__).resolve().parents[1] / "streams" / "sandbox" / "kafka.json"


def main(version: str) -> None:
    # Kafka's own packages name no logging backend; without one a failed start would say nothing.
    artifacts = (f"org.apache.kafka:kafka_2.13:{version}", "org.slf4j:slf4j-simple:1.7.36")
    with tempfile.TemporaryDirectory() as folder:
        jars = {jar.name: sha256_of(jar) for jar in download(artifacts, Path(folder))}
    release = {"version": version, "artifacts": artifacts, "jars": jars}
    TARGET.write_text(json.dumps(release, indent=2) + "\n")
    print(f"{TARGET.name}: {len(jars)} jars")


if __name__ == "__main__":
    main(*sys.argv[1:])
