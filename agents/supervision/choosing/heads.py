"""Fitting the learned score, and its scores for the very inputs that it is fitted on, each by a model without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..learned.deferral import DeferralModel, Features, class_features, length_feature, token_features
from ..learned.logistic import ridge_logistic
from ..recording import Recording
from .evidence import Evidence
from .projection import Projection

Floats = NDArray[np.float64]

#: strength of the ridge penalty on standardised features, as a number of inputs: features that say nearly the same need
#: more than 1 (on recorded cases, 10 was better than 1 throughout)
RIDGE = 10.0
#: inputs of mean gain that each class is shrunken by
SHRINKING = 10
FOLDS = 5
#: inputs that a fit takes at least, and right and wrong answers of either model among them
FEWEST = 100
FEWEST_OF_A_KIND = 10


def fit_deferral(recording: Recording, evidence: Evidence, seed: int) -> DeferralModel:
    """The learned score for these n labelled inputs.

    Raises `ValueError` where nothing is recorded that it could read, for fewer than 100 inputs, for a model that has
    fewer than 10 right or 10 wrong answers, and where the fit does not converge.
    """
    _check(recording, evidence)
    features = _features(recording, evidence, seed)
    means = features.mean(axis=0)
    scales = np.where((spread := features.std(axis=0)) > 0.0, spread, 1.0)
    projection = None if evidence.features is None else Projection.of(evidence.features)
    besides = [] if projection is None or evidence.features is None else [projection.components(evidence.features)]
    design = np.column_stack((np.ones(len(features)), (features - means) / scales, *besides))
    try:
        heads = [ridge_logistic(design, side.correct, RIDGE) for side in (recording.local, recording.remote)]
    except ValueError as error:
        raise ValueError(f"the learned score cannot be fitted: {error}") from error
    table, own = evidence.probabilities, 1 + features.shape[1]
    local, remote = heads
    return DeferralModel(
        reads="tokens" if table is None else "classes",
        labels=evidence.labels,
        gains=() if table is None else tuple(class_gains(recording, _answered(table), table.shape[1]).tolist()),
        scores=evidence.token_scores if table is None else (),
        length=evidence.lengths is not None,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        local_weights=local[:own],
        remote_weights=remote[:own],
        fitted_on=len(recording),
        features=None if projection is None else projection.weights(local[own:], remote[own:]),
    )


def _check(recording: Recording, evidence: Evidence) -> None:
    if evidence.probabilities is None and not evidence.token_scores:
        raise ValueError("neither class probabilities nor token scores of the local answers are recorded")
    if len(recording) < FEWEST:
        raise ValueError(f"{len(recording)} labelled inputs are too few to learn from: it takes {FEWEST}")
    for name, side in (("local", recording.local), ("remote", recording.remote)):
        right = int(side.correct.sum())
        if min(right, len(side) - right) < FEWEST_OF_A_KIND:
            raise ValueError(
                f"{right} of {len(side)} {name} answers are right: it learns from {FEWEST_OF_A_KIND} right and "
                f"{FEWEST_OF_A_KIND} wrong ones at least"
            )


def apply_deferral(model: DeferralModel, evidence: Evidence) -> Floats:
    """The learned scores (n,) of recorded answers. Raises `ValueError` where what it reads is not recorded."""
    if model.reads == "tokens":
        return model.of_tokens(evidence.scores, evidence.lengths, _features_for(model, evidence))
    if evidence.probabilities is None:
        raise ValueError(f"the learned score reads {model.needs}, which are not recorded")
    if model.labels and evidence.labels and model.labels != evidence.labels:
        raise ValueError(f"the learned score reads {model.needs}; other classes are recorded")
    return model.of_classes(evidence.probabilities, evidence.lengths, _features_for(model, evidence))


def _features_for(model: DeferralModel, evidence: Evidence) -> Features | None:
    if model.features is not None and evidence.features is None:
        raise ValueError(f"the learned score reads {model.needs}; no features are recorded")
    return evidence.features


def out_of_fold(recording: Recording, evidence: Evidence, seed: int) -> Floats:
    """(n,), the learned score of each input by a model that has not seen it: each fold by one fitted on the others.

    Raises as `fit_deferral` does for what is left of the data.
    """
    found = np.empty(len(recording))
    for held_out in _folds(len(recording), seed):
        try:
            model = fit_deferral(recording[~held_out], evidence[~held_out], seed)
        except ValueError as error:
            raise ValueError(f"without one of {FOLDS} folds, {error}") from error
        found[held_out] = apply_deferral(model, evidence[held_out])
    return found


def class_gains(recording: Recording, answered: NDArray[np.intp], classes: int) -> Floats:
    """(classes,), how much oftener the local answer is right than the remote one where this class is answered.

    (sum(local right − remote right) + 10 · mean) / (n of the class + 10)
    """
    gains = recording.local.correct.astype(np.float64) - recording.remote.correct
    mean = gains.mean() if len(gains) else 0.0
    sums = np.bincount(answered, weights=gains, minlength=classes)
    return np.asarray((sums + SHRINKING * mean) / (np.bincount(answered, minlength=classes) + SHRINKING))


def _features(recording: Recording, evidence: Evidence, seed: int) -> Floats:
    """(n, features); the gain of an input's class is out of fold: its own label has no part in it."""
    table = evidence.probabilities
    if table is None:
        columns = token_features([evidence.scores[name] for name in evidence.token_scores])
    else:
        answered = _answered(table)
        gains = np.empty(len(recording))
        for held_out in _folds(len(recording), seed + 1):
            known = class_gains(recording[~held_out], answered[~held_out], table.shape[1])
            gains[held_out] = known[answered[held_out]]
        columns = [*class_features(table), gains]
    if evidence.lengths is not None:
        lengths = length_feature(evidence.lengths, len(recording))
        known_lengths = lengths[~np.isnan(lengths)]
        columns.append(np.where(np.isnan(lengths), known_lengths.mean() if len(known_lengths) else 0.0, lengths))
    return np.column_stack(columns)


def _answered(probabilities: Floats) -> NDArray[np.intp]:
    return np.asarray(probabilities.argmax(axis=1), dtype=np.intp)


def _folds(n: int, seed: int) -> Iterator[NDArray[Any]]:
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    return (fold == number for number in range(FOLDS))
