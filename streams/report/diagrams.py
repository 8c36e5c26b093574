"""The reliability diagrams, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable

from .markup import share, shortened, text
from .reliability import Reliability

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 446, 12, 258
_NAME_CHARS = 40  #: of a score, below its axis


def diagram(side: str, found: Reliability, threshold: float | None) -> str:
    """Share of right answers over the score, one dot a bin; the diagonal only where the score is a probability."""
    low, high = _range(found, threshold)

    least = min(one.low for one in found.bins) // 0.25 / 4  # the axis begins at a quarter

    def across(score: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (score - low) / (high - low)

    def up(part: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (part - least) / (1 - least)

    dots = [(across(one.score), one) for one in found.bins]
    drawn = [_rows(up, least), _columns(low, high, shortened(found.name, _NAME_CHARS))]
    if found.probability:
        begin = max(low, least)
        drawn.append(_line(across(begin), up(begin), across(high), up(high), "ideal"))
    if threshold is not None:
        drawn.append(_line(across(threshold), _TOP, across(threshold), _BOTTOM, "line"))
        drawn.append(_text(across(threshold), _TOP - 2, "threshold", "middle"))
    drawn += [_line(x, up(one.low), x, up(one.high), "span") for x, one in dots]
    drawn.append(f'<polyline points="{" ".join(f"{x:.1f},{up(one.right):.1f}" for x, one in dots)}"/>')
    drawn += [
        f'<circle cx="{x:.1f}" cy="{up(one.right):.1f}" r="4.5"><title>'
        f"{one.n:,} answers with a score of about {one.score:.3g}: {share(one.right)} right</title></circle>"
        for x, one in dots
    ]
    label = f"{side} model: share of right answers over its score"
    return (
        f'<svg class="{text(side)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(label)}">'
        f"{''.join(drawn)}</svg>"
    )


def _range(found: Reliability, threshold: float | None) -> tuple[float, float]:
    """What the axis spans: the scores, and 0..1 as a rule for those that lie there."""
    scores = [one.score for one in found.bins] + ([] if threshold is None else [threshold])
    low, high = min(scores), max(scores)
    if found.probability:
        return min(0.5, low // 0.1 / 10), 1.0
    pad = 0.04 * (high - low) or 0.5
    return low - pad, high + pad


def _rows(up: Callable[[float], float], least: float) -> str:
    lines = [
        _line(_LEFT, up(part), _RIGHT, up(part)) + _text(_LEFT - 8, up(part) + 4, share(part, 0), "end")
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
        if part >= least
    ]
    return f'<g class="grid">{"".join(lines)}</g>'


def _columns(low: float, high: float, name: str) -> str:
    size = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(times * size for times in (1, 2, 5, 10) if times * size >= (high - low) / 6)
    scores = [step * at for at in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    places = [(score, _LEFT + (_RIGHT - _LEFT) * (score - low) / (high - low)) for score in scores]
    marks = "".join(_text(x, _BOTTOM + 18, f"{score:.6g}", "middle") for score, x in places)
    return marks + _text((_LEFT + _RIGHT) / 2, _BOTTOM + 37, name, "middle")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, said: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(said)}</text>'
