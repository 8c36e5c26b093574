"""The parts of the report that do not move: each makes one section as markup, or nothing where nothing is known."""

from __future__ import annotations

from ...agents.supervision.evaluation import Evaluation
from .diagrams import diagram
from .intervals import interval
from .markup import foreign, row, share, table, text
from .material import Material, Promise
from .mistakes import ClassMistakes, Example, Said, mistakes
from .reliability import Reliability, reliability

_OF = {"error": "of the trusted answers are wrong", "false_positive_rate": "of the right answers are rejected"}
_TICK = '<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M3.5 10.5l4.3 4.3 8.7-9.6"/></svg>'
_CROSS = '<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M5 5l10 10M15 5L5 15"/></svg>'


def state(material: Material) -> str:
    """The pill at the top."""
    word, said = ("ready", "promise certified") if material.certified else ("unready", "no promise")
    return f'<p class="state" data-state="{word}"><span class="dot" aria-hidden="true"></span>{said}</p>'


def promise(material: Material, measured: Evaluation) -> str:
    """What is promised and how surely, the lines to paste, and how many labels that took."""
    wanted = "".join(_promise(material, one, measured) for one in material.promises)
    why = f'<p class="hint">{_sentence(material.refused)}</p>' if material.refused else ""
    notes = "".join(f'<p class="hint">{_sentence(note)}</p>' for note in material.notes)
    card = (
        '<section class="card" aria-labelledby="promise-title"><h2 id="promise-title">What is promised</h2>'
        f'<div class="promise"><p>{_lead(material)}</p><ul>{wanted}</ul></div>{why}{notes}'
        '<p class="hint">This is about events like the labelled ones. When your users, the season or a model changes, '
        "label a new sample.</p></section>"
    )
    return f'<div class="columns">{card}{_labels(material)}</div>{_paste(material)}'


def _lead(material: Material) -> str:
    confidence = material.promises[0].confidence
    if material.refused or confidence is None:
        return "Nothing is promised. Wanted was:"
    hold = ", both together" if len(material.promises) > 1 else ""
    return f"With probability <b>{share(confidence, 0)}</b>{hold}:"


def _promise(material: Material, one: Promise, measured: Evaluation) -> str:
    said = f"at most <b>{share(one.at_most)}</b> {_OF[one.kind]}"
    kind, sign = ("kept", _TICK) if material.certified else ("refused", _CROSS)
    seen = "" if material.refused else f"<small>{_measured(one, measured)}</small>"
    return f'<li class="{kind}">{sign}<span>{said}{seen}</span></li>'


def _measured(one: Promise, measured: Evaluation) -> str:
    wrong = measured.answered - measured.right, measured.answered
    lost = measured.right_rejected, measured.right_rejected + measured.right
    hits, n = wrong if one.kind == "error" else lost
    if not n:
        return "there was nothing to measure it on"
    low, high = map(float, interval(hits, n))
    return f"measured: {share(hits / n)}, {hits:,} of {n:,}; 90\u00a0% interval {share(low)} to {share(high)}"


def _sentence(said: str) -> str:
    """Somebody's remark as a sentence."""
    told = said.strip().rstrip(".")
    return f"{text(told[:1].upper() + told[1:])}."


def _paste(material: Material) -> str:
    if not material.toml:
        said = '<p class="hint">There are no thresholds to paste: no second threshold keeps the promise.</p>'
    else:
        said = (
            f'<div class="paste"><pre id="toml" tabindex="0">{text(material.toml)}</pre>'
            '<button type="button" id="copy">Copy</button><span class="done" id="copied" role="status"></span></div>'
        )
    return (
        '<section class="card" aria-labelledby="toml-title"><h2 id="toml-title">Paste into the configuration '
        f"<small>in place of both <code>threshold</code> keys</small></h2>{said}</section>"
    )


_DID = {
    "fit": "fitted a score or a judge",
    "choose": "chose the first threshold",
    "certify": "certified the second",
    "report": "measured it all for this report",
}


def _labels(material: Material) -> str:
    rows = "".join(
        f"<div><dt>{_DID.get(name, text(name))}</dt><dd>{n:,}</dd></div>" for name, n in material.labels.items()
    )
    more = ""
    if material.more_labels is not None:
        more = f'<p class="hint">About <b>{material.more_labels:,} more</b> would halve the interval of the error.</p>'
    total = sum(material.labels.values())
    return (
        f'<section class="card" aria-labelledby="labels-title"><h2 id="labels-title">{total:,} labels '
        f'<small>each in one part</small></h2><dl class="plain">{rows}</dl>{more}</section>'
    )


def scores_mean(material: Material) -> str:
    """The reliability diagrams of both scores."""
    sides = (("local", material.unseen.local), ("remote", material.unseen.remote))
    names = (material.scores.chosen, material.remote_score)
    lines = (material.chosen.local, None if material.refused else material.chosen.remote)
    drawn = []
    for (side, answers), name, line in zip(sides, names, lines, strict=True):
        found = reliability(name, answers)
        drawn.append(
            f'<div class="diagram"><h3>{side.title()} model: {foreign(name)}</h3><p>{_meaning(found)}</p>'
            f"{diagram(side, found, line)}</div>"
        )
    return (
        '<section class="card" aria-labelledby="mean-title"><h2 id="mean-title">Do the scores mean what they say? '
        f"<small>share of right answers over the score, with 90 % intervals, on {len(material.unseen):,} inputs"
        f'</small></h2><div class="pair">{"".join(drawn)}</div></section>'
    )


def _meaning(found: Reliability) -> str:
    if found.gap is None:
        return (
            "This score is no probability, so there is no diagonal to compare with. "
            "Read one thing only: whether higher scores are right more often."
        )
    return f"A probability: on the dotted diagonal it is exact. On average it is off by {100 * found.gap:.1f} points."


def candidates(material: Material) -> str:
    """Every score that fits, with its area under the curve, and what became of learned deferral."""
    scores = material.scores
    top = max(1.0, *scores.areas.values())
    ranked = sorted(scores.areas, key=lambda name: -scores.areas[name])
    areas = "".join(_area(name, scores.areas[name], top, taken=name == scores.chosen) for name in ranked)
    word, tone = ("kept", "tag good") if scores.learned else ("left out", "tag")
    why = f'<p class="hint">{text(scores.reason)}.</p>' if scores.reason else ""
    return (
        '<section class="card" aria-labelledby="scores-title"><h2 id="scores-title">Which score decides '
        "<small>area under the request-accuracy curve; calls at random get 0.5</small></h2>"
        f'<div class="areas">{areas}</div>{why}<div class="learned"><h3>Learned deferral '
        f'<span class="{tone}">{word}</span></h3><p>{_sentence(scores.learned_reason)}</p></div></section>'
    )


def _area(name: str, area: float, top: float, *, taken: bool) -> str:
    width = 100 * max(0.0, area) / top
    tag = ' <span class="tag good">chosen</span>' if taken else ""
    return (
        f'<div class="area{" taken" if taken else ""}"><b>{foreign(name)}{tag}</b>'
        f'<svg aria-hidden="true"><rect width="100%" height="10" rx="5"/>'
        f'<rect class="value" width="{width:.2f}%" height="10" rx="5"/>'
        f'<rect class="half" x="{50 / top:.2f}%" width="1.5" height="10"/></svg>'
        f'<span class="figures-n">{area:.3f}</span></div>'
    )


def errors(material: Material) -> str:
    """Where both models err, with examples that open."""
    rows = mistakes(material.answers)
    n, both = sum(one.n for one in rows), sum(one.both for one in rows)
    heads = ("Right answer", "Inputs", "Local wrong", "Remote wrong", "Both wrong")
    body = [_class(one) for one in rows]
    return (
        '<section class="card" aria-labelledby="errors-title"><h2 id="errors-title">Where both models err <small>'
        f"{both:,} of {n:,} labelled inputs; the remote cannot help with these</small></h2>"
        f'<div class="classes">{table("Mistakes by class", heads, body)}</div></section>'
    )


def _class(one: ClassMistakes) -> str:
    name = foreign(one.name) if one.name is not None else f'<span class="many">{_several(one.classes)}</span>'
    counts = (_of(wrong, one.n) for wrong in (one.local, one.remote, one.both))
    shown = row(name, f"{one.n:,}", *counts)
    if not one.examples:
        return shown
    said = "".join(map(_example, one.examples))
    count = "the surest" if one.both > len(one.examples) else "all"
    opened = f"<details><summary>{count} {len(one.examples)} that both have wrong</summary>{said}</details>"
    return f'{shown}<tr class="examples"><td colspan="5">{opened}</td></tr>'


def _several(classes: int) -> str:
    return "all inputs" if classes == 1 else f"{classes:,} more classes"


def _of(part: int, whole: int) -> str:
    return f'{part:,} <span class="of">({share(part / whole, 0)})</span>'


def _example(one: Example) -> str:
    said = [f"<span>id <b>{foreign(one.id)}</b></span>"]
    if one.truth is not None:
        said.append(f"<span>right <b>{foreign(one.truth)}</b></span>")
    said += [f"<span>{side} {_said(what)}</span>" for side, what in (("local", one.local), ("remote", one.remote))]
    quote = f'<blockquote dir="auto">{text(one.input)}</blockquote>'
    if one.picture:
        quote = f'<img src="{text(one.picture)}" alt="{text(one.input)}">'
    return f'<div class="example">{quote}<p>{"".join(said)}</p></div>'


def _said(what: Said) -> str:
    answer = "wrong" if what.answer is None else f"<b>{foreign(what.answer)}</b>"
    return f"{answer} ({what.score:.3f})"


def ladder(material: Material) -> str:
    """The rungs, from lax to strict."""
    if not material.rungs:
        return ""
    heads = ("Rung", "Wrong, of the trusted", "Calls", "Trusted", "First threshold", "Second", "")
    rows = [
        row(
            f"{at + 1}" + (' <span class="tag good">certified</span>' if rung.certified else ""),
            share(rung.error),
            share(rung.remote_fraction),
            share(rung.acceptance),
            f"{rung.local:.4g}",
            f"{rung.remote:.4g}",
            f'<button type="button" value="{at}" aria-label="Show rung {at + 1}">show</button>',
        )
        for at, rung in enumerate(material.rungs)
    ]
    return (
        '<section class="card" aria-labelledby="ladder-title"><h2 id="ladder-title">The ladder '
        "<small>from lax to strict: each rung is the cheapest pair for its level of error</small></h2>"
        f'<details class="rungs" id="rungs"><summary>{len(material.rungs)} rungs</summary>'
        f"{table('Rungs of the ladder', heads, rows)}</details></section>"
    )
