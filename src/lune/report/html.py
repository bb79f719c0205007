"""The page: the content set into the template, with its figures. Everything it needs is inside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lune.report import wording
from lune.report.attacks import threats
from lune.report.content import ReportContent
from lune.report.figures import Bar, Series, line_chart, meter, paired_bars
from lune.report.folder import Row, number

LOSS_SERIES = {"loss": "total", "negative_loss": "on negatives", "anchor_kl": "anchor KL"}
DEV_SERIES = {"dev_usr": "dev USR", "dev_apr": "dev APR", "dev_gur": "dev GUR"}
# Characters that no HTML page may hold, shown by the pictures Unicode has for them.
_CONTROL_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {127: 0x2421}


def render_html(content: ReportContent) -> str:
    """Return the whole page as text."""
    environment = Environment(
        loader=PackageLoader("lune.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_visible,
    )
    filters: dict[str, Callable[..., str]] = {
        "score": wording.show_score,
        "interval": wording.show_interval,
        "mia_reading": wording.mia_reading,
        "of": wording.count_of,
    }
    environment.filters.update(filters)
    script = _asset("template.js")
    return environment.get_template("template.html").render(
        content=content,
        style=Markup(_asset("template.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        meters={score.key: _meter(score.key, content) for score in content.primary},
        attack_figure=_attack_figure(content),
        further_figure=_further_figure(content),
        curves=_curves(content),
        threats=threats(wording.THREATS, content.further) if content.unlearned else (),
        notice=wording.CONTENT_NOTICE,
        chance_band=wording.CHANCE_BAND,
        earlier_note=wording.EARLIER_NOTE,
        earlier_headings=wording.EARLIER_HEADINGS,
    )


def _asset(name: str) -> str:
    """Return the text of a file of this package, with newlines as the page will have them."""
    return files("lune.report").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _visible(value: object) -> object:
    """Return ``value`` with control characters made visible: model answers may hold any character."""
    return value.translate(_CONTROL_PICTURES) if type(value) is str else value


def _meter(key: str, content: ReportContent) -> Markup:
    score = next(score for score in content.primary if score.key == key)
    if score.after is None:
        return Markup("")
    return meter(f"meter-{key}", score.words.title, score.after, score.interval_after, score.threshold)


def _attack_figure(content: ReportContent) -> Markup:
    if not content.attacks:
        return Markup("")
    bars = [Bar(attack.name, attack.before, attack.after) for attack in content.attacks]
    threshold = next((score.threshold for score in content.primary if score.key == "apr"), None)
    return paired_bars("figure-attacks", "Attacks rejected, before and after", bars, threshold)


def _further_figure(content: ReportContent) -> Markup:
    bars = [Bar(row.name, row.before, row.after) for row in content.further if row.recovered is not None]
    if not bars:
        return Markup("")
    return paired_bars("figure-further", "Facts not given, plainly asked and under each further attack", bars, None)


def _curves(content: ReportContent) -> list[tuple[str, Markup]]:
    """Return the training curves that have data, each with its caption."""
    best = content.best_step
    mark = None if best is None else (best, f"kept: step {best:g}")
    curves = []
    losses = _series(content.history, LOSS_SERIES)
    if losses:
        title = "Training loss"
        curves.append((title, line_chart("figure-loss", title, losses, mark=mark)))
    scores = _series(content.history, DEV_SERIES)
    if scores:
        title = "Scores on the dev probes"
        curves.append((title, line_chart("figure-dev", title, scores, y_top=1.0, mark=mark)))
    return curves


def _series(history: Sequence[Row], names: dict[str, str]) -> list[Series]:
    """Return the lines of ``names`` that ``history`` has finite points for."""
    lines = []
    for key, name in names.items():
        pairs = ((number(row.get("step")), number(row.get(key))) for row in history)
        points = sorted((step, value) for step, value in pairs if step is not None and value is not None)
        if points:
            lines.append(Series(name, tuple(points)))
    return lines
