"""What all candidates share: the command line and the decision.

It needs the standard library only, for each candidate has its own environment.
"""

from __future__ import annotations

import argparse
from typing import Any

#: a score below it is doubtful
THRESHOLD = 0.5
#: seconds between two transactions, as in our own settings
COMMIT_S = 0.1


def arguments() -> argparse.Namespace:
    """The command line: the broker, the group, and the topics to read and write."""
    parser = argparse.ArgumentParser()
    for name in ("servers", "group", "requests", "results", "doubtful"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--transactional-id", default="")
    return parser.parse_args()


def decide(request: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the request with the answer of the model, and whether to trust it. The answer is part of the input."""
    said = request["input"]
    score = said["score"]
    answer = {**request, "prediction": said["likely"], "answered_by": "local", "score": score, "threshold": THRESHOLD}
    return answer, score >= THRESHOLD
