"""The picture of a card's backtest: errors and coverage by step, and held-out forecasts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.accuracy import SEASONAL_NAIVE, Accuracy, Example, TargetAccuracy
from models.contract import ModelCard
from models.frequency import Frequency
from service.http.plot.panel import Panel, escaped, span, text

WIDTH, MARGIN = 960, 60
MOST_TARGETS = 8
_HEAD, _ROW, _FANS = 92, 318, 260  # pixels of the heading, the errors, the examples
_SHADES = 4  # baselines beside seasonal naive that have a colour of their own

_STYLE = """
svg{--paper:#fff;--ink:#1f2328;--faint:#d8dee4;--soft:#656d76;--model:#0969da;--naive:#bc4c00;
--b0:#8250df;--b1:#1a7f37;--b2:#bf3989;--b3:#9a6700;font:12px system-ui,sans-serif}
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--faint:#30363d;
--soft:#9198a1;--model:#58a6ff;--naive:#f0883e;--b0:#bc8cff;--b1:#3fb950;--b2:#f778ba;
--b3:#d29922}}
.paper{fill:var(--paper)}text{fill:var(--ink)}.name{font-size:18px;font-weight:600}
.target{font-size:14px;font-weight:600}.title{font-weight:600}.tick,.note{fill:var(--soft)}
.tick{font-size:11px}.end{text-anchor:end}.middle{text-anchor:middle}.warning{fill:var(--naive)}
path{fill:none;stroke-width:1}.grid{stroke:var(--faint)}.axis,.now{stroke:var(--soft)}
.now,.nominal{stroke-dasharray:3 3}.nominal{stroke:var(--soft);stroke-width:1.5}
.model,.naive,.b0,.b1,.b2,.b3,.b4{stroke-width:1.8;stroke-linejoin:round}
.actual{stroke:var(--ink);stroke-width:1.4}circle.actual{fill:var(--ink)}
.model{stroke:var(--model)}circle.model{fill:var(--model)}.naive{stroke:var(--naive)}
circle.naive{fill:var(--naive)}.naive,.b0,.b1,.b2,.b3,.b4{stroke-dasharray:5 3}
.b0{stroke:var(--b0)}.b1{stroke:var(--b1)}.b2{stroke:var(--b2)}.b3{stroke:var(--b3)}
.b4{stroke:var(--soft)}.band{fill:var(--model);fill-opacity:.2;stroke:none}
""".replace("\n", "")


@dataclass(frozen=True, slots=True)
class _Line:
    """One entry of a legend: what a line is called and how it is drawn."""

    name: str
    kind: str


def draw(card: ModelCard, accuracy: Accuracy, version: int) -> str:
    """Return the picture, as one SVG document that needs nothing else and runs nothing."""
    shown = list(accuracy.targets.items())[:MOST_TARGETS]
    parts = [*_heading(card, accuracy, version, len(shown))]
    top = float(_HEAD)
    for name, found in shown:
        parts += _target(card, name, found, top)
        top += _ROW + (_FANS if found.examples else 0)
    height = top + 10
    title = escaped(f"Backtest of {card.name}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img"><title>{title}</title>'
        f'<style>{_STYLE}</style><rect class="paper" width="100%" height="100%"/>'
        f"{''.join(parts)}</svg>"
    )


def _heading(card: ModelCard, accuracy: Accuracy, version: int, shown: int) -> Iterator[str]:
    yield text(MARGIN, 32, f"{card.name}, version {version}", "name")
    begin, end = f"{accuracy.start:%Y-%m-%d}", f"{accuracy.end:%Y-%m-%d}"
    note = (
        f"{accuracy.windows:,} held-out windows from {begin} to {end}, {card.horizon} steps of "
        f"{card.frequency} each; seasonal naive repeats {accuracy.season} steps"
    )
    yield text(MARGIN, 52, note, "note")
    remarks = []
    if accuracy.loses_to:
        names = ", ".join(map(_readable, accuracy.loses_to))
        remarks.append(f"This model has a larger error than {names:.80}.")
    if shown < len(accuracy.targets):
        remarks.append(f"The first {shown} of {len(accuracy.targets)} targets.")
    yield text(MARGIN, 70, " ".join(remarks), "warning")


def _target(card: ModelCard, name: str, found: TargetAccuracy, top: float) -> Iterator[str]:
    unit = card.units.get(name, "")
    yield text(MARGIN, top + 8, _short(f"{name} ({unit})" if unit else name, 90), "target")
    yield text(MARGIN, top + 27, _figures(found), "note")
    lines = _baselines(found)
    yield _legend([_Line("this model", "model"), *lines], top + 49)
    yield _errors(found, lines, card, top + 88)
    yield _coverage(found, card, top + 88)
    if found.examples:
        yield _legend(
            [
                _Line("observed", "actual"),
                _Line("median forecast", "model"),
                _Line("seasonal naive", "naive"),
                _Line(f"{found.nominal_coverage:.0%} interval", "band"),
            ],
            top + _ROW,
        )
        yield from _examples(found.examples, card, top + _ROW + 40)


def _figures(found: TargetAccuracy) -> str:
    parts = [f"MAE {found.mae:.4g}"]
    if found.spread:
        parts.append(f"most windows {found.spread.p10:.4g} to {found.spread.p90:.4g}")
    naive = found.baselines.get(SEASONAL_NAIVE)
    if naive:
        parts.append(f"seasonal naive {naive.mae:.4g}")
    parts.append(f"within the interval {found.coverage:.0%} of {found.nominal_coverage:.0%}")
    return " · ".join(parts)


def _baselines(found: TargetAccuracy) -> list[_Line]:
    others = [name for name in found.baselines if name != SEASONAL_NAIVE]
    kinds = {name: f"b{min(number, _SHADES)}" for number, name in enumerate(others)}
    kinds[SEASONAL_NAIVE] = "naive"
    return [_Line(name, kinds[name]) for name in found.baselines]


def _errors(found: TargetAccuracy, lines: Sequence[_Line], card: ModelCard, top: float) -> str:
    flat = card.horizon * (found.mae,)  # a card of version 1 has no errors by step
    ours = found.by_step.mae if found.by_step else flat
    columns = {
        line: each.mae_by_step or (each.mae,) * card.horizon
        for line in lines
        if (each := found.baselines[line.name])
    }
    box = MARGIN, top, 520.0, 170.0
    title = "Mean absolute error by step" if found.by_step else "Mean absolute error, all steps"
    y = span([ours, *columns.values()], zero=True)
    panel = Panel(box, title, _steps(card.horizon), y, x_label=_ahead(card))
    for line, column in columns.items():
        panel.line(1, column, line.kind)
    panel.line(1, ours, "model")
    panel.dots(1, ours, "model")
    return panel.svg


def _coverage(found: TargetAccuracy, card: ModelCard, top: float) -> str:
    box = MARGIN + 590.0, top, WIDTH - MARGIN - 610.0, 170.0
    title = f"Observed within the {found.nominal_coverage:.0%} interval"
    x = _steps(card.horizon)
    panel = Panel(box, title, x, (0.0, 1.02), percent=True, x_label=_ahead(card))
    panel.level(found.nominal_coverage, "nominal")
    column = found.by_step.coverage if found.by_step else (found.coverage,) * card.horizon
    panel.line(1, column, "model")
    panel.dots(1, column, "model")
    return panel.svg


def _examples(examples: Sequence[Example], card: ModelCard, top: float) -> Iterator[str]:
    gap = 58.0
    width = (WIDTH - MARGIN - 20 - gap * (len(examples) - 1)) / len(examples)
    for number, example in enumerate(examples):
        low, high = example.quantiles[0], example.quantiles[-1]
        middle = example.quantiles[_median(card.quantiles)]
        everything = [example.history, example.actuals, example.seasonal_naive, low, high]
        box = MARGIN + number * (width + gap), top, width, 150.0
        x = 1.0 - len(example.history), float(max(2, len(example.actuals)))
        title = f"From {_moment(example, card)}"
        panel = Panel(box, title, x, span(everything), x_label=_ahead(card))
        panel.band(1, low, high, "band")
        panel.mark(0.5, "now")
        panel.line(1, example.seasonal_naive, "naive")
        panel.line(1.0 - len(example.history), [*example.history, *example.actuals], "actual")
        panel.dots(1.0 - len(example.history), [*example.history, *example.actuals], "actual")
        panel.line(1, middle, "model")
        panel.dots(1, middle, "model")
        yield panel.svg


def _legend(lines: Sequence[_Line], top: float) -> str:
    parts, left = [], float(MARGIN)
    for line in lines:
        words = _short(_readable(line.name), 26)
        if left + 32 + 7 * len(words) > WIDTH:
            break  # the card names them all
        if line.kind == "band":
            parts.append(f'<rect class="band" x="{left}" y="{top - 9}" width="24" height="10"/>')
        else:
            parts.append(f'<path class="{line.kind}" d="M{left},{top - 4}h24"/>')
        parts.append(text(left + 30, top, words, "note"))
        left += 52 + 6.6 * len(words)
    return "".join(parts)


def _steps(horizon: int) -> tuple[float, float]:
    return (1.0, float(horizon)) if horizon > 1 else (0.0, 2.0)


def _ahead(card: ModelCard) -> str:
    return f"steps of {card.frequency} ahead"


def _moment(example: Example, card: ModelCard) -> str:
    fixed = Frequency.parse(card.frequency).fixed
    daily = fixed is None or fixed.total_seconds() % 86_400 == 0
    return f"{example.start:%Y-%m-%d}" if daily else f"{example.start:%Y-%m-%d %H:%M}"


def _median(levels: Sequence[float]) -> int:
    return min(range(len(levels)), key=lambda number: abs(levels[number] - 0.5))


def _readable(name: str) -> str:
    return name.replace("_", " ")


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
