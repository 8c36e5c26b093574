"""The parts of the report that do not move: each makes one section as markup, or nothing where nothing is known."""

from __future__ import annotations

from .diagrams import diagram
from .markup import foreign, points, row, share, table, text
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


def promise(material: Material, measured: dict[str, float | None]) -> str:
    """What is promised and how surely, how many labels that took, and the lines to paste."""
    kept = "".join(_promise(one, measured[one.kind]) for one in material.promises)
    notes = "".join(f"<p class='hint'>{text(note)}</p>" for note in material.notes)
    card = (
        '<section class="card" aria-labelledby="promise-title"><h2 id="promise-title">What is promised</h2>'
        f'<ul class="promise">{kept}</ul>{_labels(material)}{notes}</section>'
    )
    return f'<div class="columns">{card}{_paste(material)}</div>'


def _promise(one: Promise, measured: float | None) -> str:
    bound = f"At most <b>{share(one.at_most)}</b> {_OF[one.kind]}"
    seen = f"Measured on inputs that nothing was fitted on: {share(measured)}."
    if one.refused:
        nearest = "" if one.nearest is None else f" The nearest that can be promised is {share(one.nearest)}."
        why = f"<small>{text(one.refused)}.{nearest}</small>"
        return _line("refused", f"Not promised: at most {share(one.at_most)} {_OF[one.kind]}{why}")
    if one.confidence is None:
        return _line("refused", f"{bound} on what was seen: no promise.<small>{seen}</small>")
    surely = f"with probability {share(one.confidence, 0)}"
    return _line("kept", f"{bound}, {surely}.<small>{seen}</small>")


def _line(kind: str, said: str) -> str:
    return f'<li class="{kind}">{_TICK if kind == "kept" else _CROSS}<span>{said}</span></li>'


def _labels(material: Material) -> str:
    total = sum(material.labels.values())
    parts = ", ".join(f"{n:,} to {text(name)}" for name, n in material.labels.items())
    more = ""
    if material.more_labels is not None:
        more = f" About <b>{material.more_labels:,} more</b> would halve the margin between promised and measured."
    return (
        f'<p class="labels">Made from <b>{total:,}</b> labels: {parts}.{more}</p>'
        '<p class="hint">The promise is for events like these. When your users, the season or a model changes, label a '
        "new sample.</p>"
    )


def _paste(material: Material) -> str:
    if not material.toml:
        said = "<p class='hint'>There are no thresholds to paste: no second threshold keeps the promise.</p>"
    else:
        said = (
            f'<div class="paste"><pre id="toml" tabindex="0">{text(material.toml)}</pre>'
            '<button type="button" id="copy">Copy</button><span class="done" id="copied" role="status"></span></div>'
            "<p class='hint'><code>bisupervised check</code> then says whether all of it fits together.</p>"
        )
    return (
        '<section class="card" aria-labelledby="toml-title"><h2 id="toml-title">Paste into the configuration '
        f"<small>in place of both <code>threshold</code> keys</small></h2>{said}</section>"
    )


def scores_mean(material: Material) -> str:
    """The reliability diagrams of both scores."""
    sides = (("local", material.unseen.local), ("remote", material.unseen.remote))
    pair = material.chosen
    lines = (material.local, None if pair is None else pair.remote)
    drawn = []
    for (side, answers), name, line in zip(sides, material.scores, lines, strict=True):
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
    known = {name: area for name, area in material.candidates.items() if area is not None}
    if not known:
        return ""
    top = max(1.0, *known.values())
    ranked = sorted(known, key=lambda name: -known[name])
    areas = "".join(_area(name, known[name], top, taken=name == material.scores[0]) for name in ranked)
    return (
        '<section class="card" aria-labelledby="scores-title"><h2 id="scores-title">Which score decides '
        "<small>area under the request-accuracy curve: 0 is the local model alone, 0.5 calls at random, 1 the remote "
        f'alone</small></h2><div class="areas">{areas}</div>{_learned(material)}</section>'
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


def _learned(material: Material) -> str:
    learned = material.learned
    if learned is None:
        return ""
    word, tone = ("kept", "tag good") if learned.kept else ("left out", "tag")
    gain = ""
    if learned.gain is not None:
        gain = f"Gain over the best free score: {points(learned.gain)}"
        if learned.gain_lower is not None:
            gain += f", with 95 % probability at least {points(learned.gain_lower)}"
        gain += ". "
    return (
        f'<div class="learned"><h3>Learned deferral <span class="{tone}">{word}</span></h3>'
        f"<p>{gain}{text(learned.reason)}</p></div>"
    )


def errors(material: Material) -> str:
    """Where both models err, with examples that open."""
    if material.answers is None:
        return ""
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
    quote = "" if one.input is None else f'<blockquote dir="auto">{text(one.input)}</blockquote>'
    return f'<div class="example">{quote}<p>{"".join(said)}</p></div>'


def _said(what: Said) -> str:
    answer = "wrong" if what.answer is None else f"<b>{foreign(what.answer)}</b>"
    return answer if what.score is None else f"{answer} ({what.score:.3f})"


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
            f"{rung.pair.local:.4g}",
            f"{rung.pair.remote:.4g}",
            f'<button type="button" value="{at}" aria-label="Show rung {at + 1}">show</button>',
        )
        for at, rung in enumerate(material.rungs)
    ]
    return (
        '<section class="card" aria-labelledby="ladder-title"><h2 id="ladder-title">The ladder '
        "<small>from lax to strict; each rung is the cheapest pair for its level, as estimated where it was chosen"
        "</small></h2>"
        f'<details class="rungs" id="rungs"><summary>{len(material.rungs)} rungs</summary>'
        f"{table('Rungs of the ladder', heads, rows)}</details></section>"
    )
