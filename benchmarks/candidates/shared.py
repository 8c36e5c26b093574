"""What all candidates have in common: the command line and the decision. Standard library only: each has its own
environment.
"""

from __future__ import annotations

import argparse
from typing import Any

#: a score below is doubtful
THRESHOLD = 0.5
#: seconds between two transactions, as in our own settings
COMMIT_S = 0.1


def arguments() -> argparse.Namespace:
    """Where to read and write."""
    parser = argparse.ArgumentParser()
    for name in ("servers", "group", "requests", "results", "doubtful"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--transactional-id", default="")
    return parser.parse_args()


def decide(request: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The free model, whose answer stands in the input. Returns the request with it, and whether to trust it."""
    said = request["input"]
    score = said["score"]
    answer = {**request, "prediction": said["likely"], "answered_by": "local", "score": score, "threshold": THRESHOLD}
    return answer, score >= THRESHOLD
