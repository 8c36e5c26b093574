"""The two models of the issue demo: a small one that reads titles, and a better one that reads whole reports.

The local model is one layer of torch over the words of a title, pieces of them, and its form. The remote model is a
logistic regression over the words of title and body, over marks of a report's form, such as headings, code and
questions, and over each of these once more for each project: what is a bug in one is a question in another.
Both are trained in seconds, and kept as plain arrays: nothing is unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .digits import one_thread
from .issues import LABELS, IssueReport, IssueText, parted

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: environment variable with the folder of both models, for the factories, which take no arguments
MODELS_VARIABLE = "ISSUE_MODELS"
LOCAL_FILE, REMOTE_FILE = "title.npz", "report.npz"
#: version of both models in records: change it with anything that changes them
VERSION = "1"

# what is read of a report


#: characters of a body that are read at all, and those that its words are taken from
_READ, _BODY, _BEGINNING = 8_000, 4_000, 400
_REPLACED = (
    (re.compile(r"<!--.*?(-->|$)", re.DOTALL), " xcomment "),
    (re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)"), " ximage "),
    (re.compile(r"https?://\S+"), " xlink "),
    (re.compile(r"\b(0x[0-9a-fA-F]+|[0-9a-f]{7,40})\b"), " xhex "),
    (re.compile(r"\d+"), " 0 "),
)
_CODE = re.compile(r"```(.*?)(```|$)", re.DOTALL)
_CODE_SHOWN = 300
_HEADING = re.compile(r"^(?:#+\s*(\S.{0,60})|\*\*([^*\n]{1,60})\*\*)", re.MULTILINE)
_MARKS = {
    "asks": re.compile(r"\b(how|why|what|can i|is it possible|is there)\b", re.IGNORECASE),
    "traced": re.compile(r"Traceback|^\s+at .+\(.+:\d+", re.MULTILINE),
    "reproduced": re.compile(r"steps to reproduce|repro", re.IGNORECASE),
    "expected": re.compile(r"expected", re.IGNORECASE),
    "wished": re.compile(r"would be nice|feature request|proposal|please add|support for|it would|should|allow", re.I),
    "broken": re.compile(r"error|crash|fails|regression", re.IGNORECASE),
    "thanked": re.compile(r"thank|stack ?overflow", re.IGNORECASE),
    "system": re.compile(r"system information|version", re.IGNORECASE),
}
_LENGTHS = (0, 50, 200, 500, 1_000, 2_000, 5_000)


def readable(body: str) -> str:
    """The beginning of a body without what is different in every report: links, numbers, long code."""
    text = _CODE.sub(lambda code: f" xcode {code[1][:_CODE_SHOWN]} ", body[:_READ])
    for pattern, instead in _REPLACED:
        text = pattern.sub(instead, text)
    return text[:_BODY]


def title_marks(issue: IssueText) -> Iterator[str]:
    """Names for the form of a title: how it begins and ends, how long it is, what it asks."""
    words = issue.title.lower().split() or [""]
    yield from (f"begins {words[0]}", f"ends {words[-1]}", f"words {min(len(words) // 3, 5)}")
    yield from (f"has {sign}" for sign in "?[:`" if sign in issue.title)
    yield from (name for name, pattern in _MARKS.items() if pattern.search(issue.title))


def marks(issue: IssueText) -> Iterator[str]:
    """Names for the form of a report."""
    body = issue.body[: 2 * _READ]
    yield from (f"longer than {length}" for length in _LENGTHS if len(issue.body) > length)
    yield from (f"code {number}" for number in range(min(body.count("```"), 6)))
    yield from (f"questions {number}" for number in range(min(body.count("?"), 5)))
    yield from (f"title {sign}" for sign in "?[:`" if sign in issue.title)
    for where, text in (("title", issue.title), ("body", body)):
        yield from (f"{name} in {where}" for name, pattern in _MARKS.items() if pattern.search(text))
    for heading in list(_HEADING.finditer(body))[:30]:
        yield "heading " + " ".join(re.findall(r"\w+", (heading[1] or heading[2]).lower())[:6])


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a report: what is read, and how it is taken apart."""

    read: Callable[[IssueText], Any]
    pieces: dict[str, Any]  #: options of scikit-learn's vectorizer


_WORDS: dict[str, Any] = {"ngram_range": (1, 2)}
TITLE_VIEWS = (
    View(lambda issue: issue.title, _WORDS),
    View(lambda issue: issue.title, {"analyzer": "char_wb", "ngram_range": (3, 5)}),
    View(title_marks, {"analyzer": list}),
)
REPORT_VIEWS = (
    View(lambda issue: issue.title, _WORDS),
    View(lambda issue: readable(issue.body), _WORDS),
    View(lambda issue: readable(issue.body)[:_BEGINNING], _WORDS),
    View(marks, {"analyzer": list}),
)
_HASHED = 2**18
#: reports that a piece must be in to be learned
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Features:
    """Turns texts into sparse vectors: for each view the pieces that were learned, weighed by how rare they are."""

    views: tuple[View, ...]
    columns: tuple[NDArray[np.int64], ...]  #: of each view, the hashed pieces that were learned
    weights: tuple[NDArray[np.float32], ...]  #: of each of them
    projects: tuple[str, ...] = ()  #: that have every piece once more for themselves

    def of(self, issues: Sequence[IssueText]) -> Any:  # noqa: ANN401  # a sparse matrix: scipy's have no types
        """One row each."""
        from scipy.sparse import diags_array, hstack
        from sklearn.preprocessing import normalize

        parts = []
        for view, columns, weights in zip(self.views, self.columns, self.weights, strict=True):
            counts = _counted(view, issues)[:, columns]
            counts.data = 1.0 + np.log(counts.data)
            parts.append(normalize(counts @ diags_array(weights)))
        general = hstack(parts).tocsr()
        ours = [np.array([issue.repo == project for issue in issues], float) for project in self.projects]
        return hstack([general, *(diags_array(mask) @ general for mask in ours)]).tocsr()


def _counted(view: View, issues: Sequence[IssueText]) -> Any:  # noqa: ANN401  # a sparse matrix
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(n_features=_HASHED, norm=None, alternate_sign=False, **view.pieces)
    return vectorizer.transform([view.read(issue) for issue in issues]).tocsr()


def learn_features(views: tuple[View, ...], issues: Sequence[IssueText], *, by_project: bool) -> Features:
    """Which pieces there are, and how rare each is."""
    columns, weights = [], []
    for view in views:
        there = np.bincount(_counted(view, issues).indices, minlength=_HASHED)
        kept = np.flatnonzero(there >= _FEWEST)
        columns.append(kept.astype(np.int64))
        weights.append((1.0 + np.log((1 + len(issues)) / (1 + there[kept]))).astype(np.float32))
    projects = tuple(sorted({issue.repo for issue in issues})) if by_project else ()
    return Features(views, tuple(columns), tuple(weights), projects)


# the models


@dataclass(frozen=True, slots=True)
class IssueModel:
    """Features, and one layer over them. The callable that worker and server load."""

    features: Features
    coefficients: NDArray[np.float32]  #: (labels, features)
    intercepts: NDArray[np.float32]  #: (labels,)
    version: str = VERSION
    labels: tuple[str, ...] = LABELS

    def __call__(self, inputs: list[Any]) -> NDArray[np.float64]:
        """Probabilities (n, labels)."""
        logits = self.features.of([parted(text) for text in inputs]) @ self.coefficients.T + self.intercepts
        exps = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exps / exps.sum(axis=1, keepdims=True), np.float64)


def learn_titles(reports: Sequence[IssueReport], seed: int) -> IssueModel:
    """The small model, trained by torch."""
    torch = _torch()
    issues, labels = _taught(reports)
    features = learn_features(TITLE_VIEWS, issues, by_project=False)
    inputs = torch.from_numpy(features.of(issues).toarray().astype(np.float32))
    with one_thread(torch):
        torch.manual_seed(seed)
        layer = _trained(torch, torch.nn.Linear(inputs.shape[1], len(LABELS)), inputs, torch.from_numpy(labels))
    return IssueModel(features, layer.weight.detach().numpy(), layer.bias.detach().numpy())


_EPOCHS, _BATCH, _RATE, _DECAY = 8, 64, 0.01, 0.1


def _trained(torch: Any, layer: Any, inputs: Any, labels: Any) -> Any:  # noqa: ANN401  # torch is optional
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=_RATE, weight_decay=_DECAY)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(inputs)).split(_BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return layer


#: how freely the remote model may fit what it learns from: scikit-learn's C
_FREEDOM = 4.0


def learn_reports(reports: Sequence[IssueReport]) -> IssueModel:
    """The better model."""
    from sklearn.linear_model import LogisticRegression

    issues, labels = _taught(reports)
    features = learn_features(REPORT_VIEWS, issues, by_project=True)
    fitted = LogisticRegression(C=_FREEDOM, max_iter=200).fit(features.of(issues), labels)
    return IssueModel(features, fitted.coef_.astype(np.float32), fitted.intercept_.astype(np.float32))


def _taught(reports: Sequence[IssueReport]) -> tuple[list[IssueText], NDArray[np.int64]]:
    """What the models read, and the class of each. Every class must be there."""
    labels = np.array([LABELS.index(report.label) for report in reports], np.int64)
    return [parted(report.text) for report in reports], labels


def _torch() -> Any:  # noqa: ANN401  # a module
    """torch, as `Any`: it is optional, and parts of it have no types."""
    import torch

    return torch


# their files


def save(model: IssueModel, path: Path) -> None:
    """Write a model as plain arrays."""
    features = model.features
    arrays: dict[str, Any] = {"coefficients": model.coefficients, "intercepts": model.intercepts}
    for number, (columns, weights) in enumerate(zip(features.columns, features.weights, strict=True)):
        arrays |= {f"columns_{number}": columns, f"weights_{number}": weights}
    np.savez_compressed(path, projects=np.array(features.projects, dtype=str), **arrays)


def load(path: Path, views: tuple[View, ...]) -> IssueModel:
    """Read one. Nothing is unpickled."""
    with np.load(path, allow_pickle=False) as arrays:
        numbers = range(len(views))
        features = Features(
            views,
            tuple(arrays[f"columns_{number}"] for number in numbers),
            tuple(arrays[f"weights_{number}"] for number in numbers),
            tuple(arrays["projects"].tolist()),
        )
        return IssueModel(features, arrays["coefficients"], arrays["intercepts"])


def _folder() -> Path:
    return Path(os.environ[MODELS_VARIABLE])


def titles() -> IssueModel:
    """The factory that the settings name: `bisupervised.streams.demo.triage:titles`."""
    return load(_folder() / LOCAL_FILE, TITLE_VIEWS)


def reports() -> IssueModel:
    """The factory that the model server is given: `bisupervised.streams.demo.triage:reports`."""
    return load(_folder() / REMOTE_FILE, REPORT_VIEWS)
