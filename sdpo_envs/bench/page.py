"""A comparison as one page of HTML: no scripts, nothing from the net, readable in light and in dark and on paper."""

import math
import re
from collections.abc import Iterator, Sequence
from html import escape

from sdpo_envs.bench.cell import NOTHING, count, duration, needed, rate, ratio, target, tokens
from sdpo_envs.bench.compare import Comparison
from sdpo_envs.bench.figure import colour, finals, learning, speedups

_TOLD = 3  # algorithms that the summary speaks of
_SHORT = 40  # letters up to which lines may stand side by side

_STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1c2127; --quiet: #5c6670; --faint: #e4e7eb; --wash: #f6f7f9;
  --base: #6b7580; --c0: #2463c8; --c1: #d4600a; --c2: #18813f; --c3: #8a3fcf; --c4: #c42b3b;
  --c5: #0b8585; --c6: #bf3287; --c7: #77700c; --c8: #8b5a2b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15181c; --ink: #e6e9ed; --quiet: #9aa4af; --faint: #2c3239; --wash: #1c2025;
    --base: #a2acb7; --c0: #74a9ff; --c1: #ff9d52; --c2: #5fce89; --c3: #c393ff; --c4: #ff7f87;
    --c5: #4fd0cf; --c6: #ff8bd0; --c7: #d6cd5c; --c8: #d3a274;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 3.5rem 1.5rem 5rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { margin: 0 0 .5rem; font-size: 2.1rem; line-height: 1.2; letter-spacing: -.02em; text-wrap: balance; }
h2 { margin: 3.2rem 0 .3rem; font-size: 1.25rem; letter-spacing: -.01em; }
p, ul, figcaption { max-width: 46rem; }
p { margin: .4rem 0 .9rem; }
ul { padding-left: 1.1rem; margin: .6rem 0; }
li { margin: .3rem 0; }
.lead { font-size: 1.1rem; }
.quiet, figcaption { color: var(--quiet); }
figcaption { font-size: .9rem; margin-bottom: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.6rem; margin: 1.6rem 0 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
.key { display: inline-flex; align-items: center; gap: .45rem; white-space: nowrap; }
.key::before { content: ""; width: .7rem; height: .7rem; border-radius: 50%; background: var(--c); flex: none; }
.wide { overflow-x: auto; margin: .8rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .5rem .9rem .5rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--faint); }
th { font-weight: 600; }
thead th { color: var(--quiet); font-weight: 500; font-size: .85rem; vertical-align: bottom; }
td { white-space: nowrap; }
td .ci { color: var(--quiet); font-size: .86em; margin-left: .15rem; }
td .sub { display: block; color: var(--quiet); font-size: .86em; }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 1rem 2.5rem; }
figure { margin: .8rem 0 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
pre {
  background: var(--wash); border: 1px solid var(--faint); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
  font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
svg text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--ink); }
svg .tick, svg .axis { fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .told { font-size: 12px; font-variant-numeric: tabular-nums; }
svg .heading { fill: var(--quiet); font-size: 13px; }
svg .name { fill: var(--c); font-weight: 600; }
svg .grid { stroke: var(--faint); }
svg .one { stroke: var(--quiet); stroke-dasharray: 3 3; }
svg .curve { fill: none; stroke: var(--c); stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
svg .band { fill: var(--c); opacity: .14; }
svg .point, svg .arrow { fill: var(--c); }
svg .dot { fill: var(--c); opacity: .45; }
svg .whisker { stroke: var(--c); stroke-width: 2; }
svg .mark { fill: var(--c); stroke: var(--page); stroke-width: 1.5; }
@media print { body { padding: 0; max-width: none; font-size: 11pt; } h2, figure { break-inside: avoid; } }
"""
_IN_A_NOTEBOOK = """
& {
  color-scheme: inherit; padding: 0; margin: 0; background: none; color: inherit; font-size: 14px;
  --page: transparent; --ink: currentColor; --quiet: color-mix(in srgb, currentColor 70%, transparent);
  --faint: rgba(128, 128, 128, .3); --base: #808a94; --c0: #3f7fe0; --c1: #d9691a; --c2: #2b9a57; --c3: #9a5fe0;
  --c4: #dc4a55; --c5: #149a9a; --c6: #d04a9c; --c7: #8f8718; --c8: #a87341;
}
h2 { margin: 1.4rem 0 .2rem; font-size: 1.05rem; }
th, td { background: none; }
figure { max-width: 34rem; }
"""  # A notebook has a theme of its own: letters keep its colour, and the others can be told apart on light and dark.


def page(found: Comparison, *, title: str, command: str = "") -> str:
    """Return the whole page.

    Args:
        found: What was compared.
        title: The heading.
        command: What makes this page again, ``""`` where nobody told.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="lead">{line}</p>' for line in _summary(found)),
        _compared(found),
        *_reached(found),
        *_curves(found),
        *_soon(found),
        *_speedups(found),
        *_finals(found),
        *_notes(found),
        *_again(command),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "\n".join(parts)
    head += f"<style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def fragment(found: Comparison) -> str:
    """Return what was reached, how soon, and the learning curves, for a notebook; its style reaches nothing else."""
    nested = _STYLE.replace(":root {", "& {").replace("body {", "& {") + _IN_A_NOTEBOOK
    parts = [
        *(f"<p>{line}</p>" for line in _summary(found)),
        *_reached(found),
        *_soon(found),
        *_curves(found),
        *_notes(found),
    ]
    return f'<div class="sdpo-comparison"><style>.sdpo-comparison {{ {nested} }}</style>{"".join(parts)}</div>'


def _summary(found: Comparison) -> Iterator[str]:
    """Say in a sentence how an algorithm did, for the few that did best."""
    others = [each for each in found.standings if each.algorithm != found.baseline]
    for each in sorted(others, key=lambda each: -each.final.value)[:_TOLD]:
        ends = f"<strong>{escape(each.algorithm)}</strong> ends at {rate(each.final)}"
        if found.baseline is None:
            yield f"{ends}."
            continue
        reach, beside = each.reaches[-1], f"{rate(each.difference, sign=True)} beside {escape(found.baseline)}"
        goal, faster = escape(target(reach, found.baseline)), ratio(reach.generations.speedup)
        yield f"{ends}, {beside}. Speed-up until {goal}, in generations: {faster}."


def _compared(found: Comparison) -> str:
    """List what was compared, and what was told of it."""
    keys = " &ensp; ".join(_key(found, each.algorithm) for each in found.standings)
    seeds = [(each.algorithm, ", ".join(each.seeds)) for each in found.standings]
    told = {"seeds": seeds}
    for fact in found.facts:
        told.setdefault(fact.name.replace("_", " "), []).append((fact.algorithm, fact.value))
    lines = [("algorithms", keys), *((escape(name), _by_value(values)) for name, values in told.items())]
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in lines) + "</dl>"


def _by_value(values: Sequence[tuple[str, str]]) -> str:
    """Return what was told of algorithms, those of one value together."""
    owners: dict[str, list[str]] = {}
    for algorithm, value in values:
        owners.setdefault(value, []).append(algorithm)
    if len(owners) == 1:
        return escape(values[0][1])
    lines = [f"{', '.join(some)}: {value}" for value, some in owners.items()]
    return ("; " if max(map(len, lines)) < _SHORT else "<br>").join(map(escape, lines))


def _reached(found: Comparison) -> Iterator[str]:
    yield "<h2>What was reached</h2>"
    yield (
        f"<p class=quiet>Success rates; the final one is the mean of the last {found.last} evaluations. In brackets "
        f"{found.how.confidence:.0%} intervals over seeds. The area is the mean height of the curve from "
        f"{found.span[0]:,.0f} to {found.span[1]:,.0f} generations.</p>"
    )
    heads = ["algorithm", "seeds", "final success", "interquartile mean", "best", "area"]
    told = any(not math.isnan(each.tokens[0]) for each in found.standings)
    beside = found.baseline is not None
    heads += [f"final beside {found.baseline}", "chance of a better end"] if beside else []
    heads += ["tokens, start → end"] if told else []
    rows = []
    for each in found.standings:
        cells = [_key(found, each.algorithm), f"{len(each.runs)}"]
        cells += [_cell(rate(number)) for number in (each.final, each.final_iqm, each.best, each.area)]
        cells += [_cell(rate(each.difference, sign=True)), _cell(rate(each.improvement))] if beside else []
        cells += [tokens(*each.tokens)] if told else []
        rows.append(cells)
    yield _table(heads, rows)


def _soon(found: Comparison) -> Iterator[str]:
    targets = [target(reach, found.baseline) for reach in found.standings[0].reaches]
    if not targets:
        return
    yield "<h2>How soon</h2>"
    yield (
        "<p class=quiet>What it took until the success rate, smoothed over three evaluations, first reached a level, "
        "in attempts of training and in time of work: the mean over seeds, or the median where a seed never got there."
        "</p>"
    )
    rows = []
    for each in found.standings:
        cells = [_key(found, each.algorithm)]
        for reach in each.reaches:
            generations, seconds = needed(reach.generations, count), needed(reach.seconds, duration)
            below = "" if seconds in (NOTHING, generations) else f'<span class="sub">{escape(seconds)}</span>'
            cells.append(_cell(generations) + below)
        rows.append(cells)
    yield _table(["algorithm", *targets], rows)


def _curves(found: Comparison) -> Iterator[str]:
    yield "<h2>Learning curves</h2>"
    yield (
        f"<p class=quiet>The interquartile mean over seeds of the success rate, with its {found.how.confidence:.0%} "
        "interval, as far as all whole runs go. Point at a dot to read it.</p>"
    )
    yield _pair(("Against generations", learning(found, "generations")), ("Against time", learning(found, "seconds")))


def _speedups(found: Comparison) -> Iterator[str]:
    drawn = [(f"In {unit}", speedups(found, unit)) for unit in ("generations", "seconds")]
    if not any(figure for _, figure in drawn):
        return
    yield "<h2>Speed-ups</h2>"
    yield (
        f"<p class=quiet>What {escape(found.baseline or '')} needed over what an algorithm needed: dots for seeds, "
        "their geometric mean and its interval. Where a seed never reached the level, only a bound of its ratio is "
        "known, and its dot becomes an arrow; then there is no geometric mean, and the line shows between what bounds "
        "the median lies.</p>"
    )
    yield _pair(*drawn)


def _finals(found: Comparison) -> Iterator[str]:
    yield "<h2>Final success of each seed</h2>"
    yield "<p class=quiet>A dot is a seed, the diamond their mean with its interval.</p>"
    yield _pair(("", finals(found)))


def _notes(found: Comparison) -> Iterator[str]:
    yield "<h2>What is missing</h2>"
    if not found.notes:
        yield "<p>Nothing: every run is whole, and every attempt was judged.</p>"
    else:
        yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in found.notes) + "</ul>"


def _again(command: str) -> Iterator[str]:
    if command:
        yield f"<h2>To make this page again</h2><pre>{escape(command)}</pre>"


def _pair(*drawn: tuple[str, str]) -> str:
    """Set figures, with a caption each, side by side where there is room."""
    figures = [f"<figure><figcaption>{caption}</figcaption>{svg}</figure>" for caption, svg in drawn if svg]
    return f'<div class="pair">{"".join(figures)}</div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; heads are text, cells are HTML."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{each}</td>' for each in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _key(found: Comparison, algorithm: str) -> str:
    return f'<span class="key" style="--c:{colour(found, algorithm)}">{escape(algorithm)}</span>'


def _cell(text: str) -> str:
    """Return a number with its interval set back, and what follows a semicolon on a line of its own."""
    number, _, more = escape(text).partition("; ")
    number = re.sub(r" (\[[^\]]*\])", r' <span class="ci">\1</span>', number)
    return number + (f'<span class="sub">{more}</span>' if more else "")
