"""The tables of docs/performance.md, from the record of a bench; the command puts them between the page's markers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- Written by `make bench` from benchmarks/results/speed.json: begin -->"
END = "<!-- Written by `make bench`: end -->"
NOTHING = "Nothing was measured yet: run `make bench`."
BASE = "trl-peft"
"""The arm that others are compared with in the ratios."""


def tables(record: Mapping[str, Any]) -> str:
    """Return the Markdown that stands between the markers."""
    parts = [_made(record)]
    if record["arms"]:
        parts += [_arms_table(record), _rates_table(record)]
    if record["evaluation"]:
        parts.append(_evaluation_table(record))
    if record["growth"]:
        parts.append(_growth_table(record))
    if record.get("profile"):
        parts.append(_profile_table(record["profile"]))
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _made(record: Mapping[str, Any]) -> str:
    machine, options = record["machine"], record["options"]
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if name != "code")
    runs = f"medians of {options['repetitions']} runs" if options["repetitions"] > 1 else "one run"
    quick = " with `--quick`: fewer probes, smaller growth, no learning rate tuned" if options["quick"] else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['memory_gb']} GB; "
        f"{versions}; training in {machine['dtype']} where an arm may choose. Model `{options['model']}`; {runs}"
        f"{quick}; brackets: smallest and largest."
    )


def _arms_table(record: Mapping[str, Any]) -> str:
    arms = record["arms"]
    lines = [
        "| arm | tokens/s of a step | × trl | time to forget, s | passes | trl's time ÷ | MB above the weights "
        "| trained parameters | USR | APR | gur_neighbour |",
        "| --- |" + " ---: |" * 10,
    ]
    base = arms.get(BASE, {})
    for arm, figures in arms.items():
        cells = [
            _figure(figures["step_tokens_per_s"], 0),
            _ratio(figures, base, "step_tokens_per_s"),
            _figure(figures["time_to_forget_s"], 1),
            _figure(figures["passes_to_forget"], 0),
            _ratio(base, figures, "time_to_forget_s"),
            _figure(figures["memory_above_weights_mb"], 0),
            _figure(figures["trainable_parameters"], 0),
            *(_figure(figures[name], 3) for name in ("usr", "apr", "gur_neighbour")),
        ]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, *_reasons(arms)])


def _reasons(arms: Mapping[str, Any]) -> list[str]:
    """Return a list of why figures are missing, one line an arm and reason."""
    told = dict.fromkeys(
        f"- {arm}: {figure['reason']}"
        for arm, figures in arms.items()
        for figure in figures.values()
        if figure.get("reason", "not measured") != "not measured"
    )
    return ["", "Not reached:", "", *told] if told else []


def _rates_table(record: Mapping[str, Any]) -> str:
    lines = [
        "| arm | learning rate | runs | time to forget, s | with evaluation, s | passes | USR | APR | gur_neighbour |",
        "| --- | --- |" + " ---: |" * 7,
    ]
    for arm, details in record["details"]["arms"].items():
        for rate in details["rates"]:
            if not rate["runs"]:
                continue
            marks = [name for name in ("documented", "tuned", "reported") if rate[name]]
            cells = [
                f"{rate['learning_rate']:g} ({', '.join(marks)})" if rate["learning_rate"] else "–",
                str(rate["runs"]),
                _figure(rate["time_to_forget_s"], 1),
                _figure(rate["with_evaluation_s"], 1),
                _figure(rate["passes_to_forget"], 0),
                *(_figure(rate[name], 3) for name in ("usr", "apr", "gur_neighbour")),
            ]
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    if len(lines) == 2:  # noqa: PLR2004  (the head alone)
        return ""
    return "\n".join(["Every learning rate that was run on the request:", "", *lines])


def _evaluation_table(record: Mapping[str, Any]) -> str:
    lines = ["| answering | probes/s | × one-by-one | answers that differ |", "| --- | ---: | ---: | ---: |"]
    ways = record["evaluation"]
    first = ways.get("one-by-one", {})
    for way, figures in ways.items():
        told = record["details"]["evaluation"].get(way)
        differing = f"{told['different_from_one-by-one']} of {told['answers']}" if told else "–"
        speed = _figure(figures["probes_per_s"], 2)
        lines.append(f"| {way} | {speed} | {_ratio(figures, first, 'probes_per_s')} | {differing} |")
    return "\n".join(lines)


def _growth_table(record: Mapping[str, Any]) -> str:
    lines = [
        "| model | arm | facts | negatives | steps of a pass, s | whole training stage, s | MB above the weights |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    fitted = []
    for size, arms in record["growth"].items():
        for arm, told in arms.items():
            for facts, figures in told["facts"].items():
                cells = [
                    _figure(figures["pass_s"], 1),
                    _figure(figures["stage_s"], 1),
                    _figure(figures["memory_above_weights_mb"], 0),
                ]
                lines.append("| " + " | ".join([size, arm, facts, str(figures["negatives"] or "–"), *cells]) + " |")
            shown = {name: "–" if value is None else f"{value:.2f}" for name, value in told["exponent"].items()}
            fitted.append(
                f"- {size}, {arm}: steps {shown['pass_s']}, whole stage {shown['stage_s']}, "
                f"memory {shown['memory_above_weights_mb']}"
            )
    return "\n".join([*lines, "", "Exponents fitted over the numbers of facts (1 is linear, 0 is flat):", "", *fitted])


def _profile_table(profiled: Mapping[str, Any]) -> str:
    done = {name: run for name, run in profiled.items() if "shares" in run}
    kinds = list(next(iter(done.values()))["shares"]) if done else []
    lines = [
        f"| where the time goes | {' | '.join(kinds)} | GFLOP/s | measured peak, GFLOP/s | share of it |",
        "| --- |" + " ---: |" * (len(kinds) + 3),
    ]
    for name, run in done.items():
        cells = [f"{run['shares'][kind]:.0%}" for kind in kinds]
        cells += [f"{run['flops_per_s'] / 1e9:.0f}", f"{run['peak_flops_per_s'] / 1e9:.0f} ({run['dtype']})"]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {run['share_of_peak']:.0%} |")
    return "\n".join(lines) if done else ""


def _figure(figure: Mapping[str, Any], digits: int) -> str:
    """Return a figure as a cell: the median and, where runs differ, the smallest and largest."""
    middle, low, high = (_number(figure[name], digits) for name in ("median", "min", "max"))
    if figure["min"] is None:
        return "–"
    return middle if low == middle == high else f"{middle} [{low}–{high}]"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _ratio(above: Mapping[str, Any], below: Mapping[str, Any], name: str) -> str:
    """Return the ratio of two medians."""
    one = above.get(name, {}).get("median")
    two = below.get(name, {}).get("median")
    return f"{one / two:.1f}" if one is not None and two else "–"


def with_tables(page: str, text: str) -> str:
    """Return a page with ``text`` between its markers.

    Raises:
        ValueError: When the page does not have each marker once.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"The page must hold each of these lines once: {BEGIN} and {END}")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def shown(results: Path = RESULTS) -> str:
    """Return the text that the page should have between its markers: the stored record's tables."""
    return tables(json.loads(results.read_text(encoding="utf-8"))) if results.is_file() else NOTHING
