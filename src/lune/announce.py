"""What a run says in the terminal between its stages: what was made, how training ended, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from lune.metrics import Scores
from lune.preparation import Prepared
from lune.progress import Display, shown_scores
from lune.records import EarlierScores
from lune.settings import ForgetSettings
from lune.training.session import Trained
from lune.verdict import Verdict

STYLES = {"FORGOTTEN": "bold green", "PARTLY": "bold yellow", "DAMAGED": "bold red", "NOT KNOWN BEFORE": "bold"}


def say_prepared(display: Display, prepared: Prepared) -> None:
    """Say what was made of the request, and what the model knows of it."""
    made = prepared.made
    proposed = len(made.rejected) + sum(map(len, made.alternates.values()))
    display.line(
        f"Forget {len(prepared.facts)} facts · {proposed} wrong answers proposed, "
        f"{proposed - len(made.rejected)} valid, {len(made.negatives)} negatives · {len(prepared.anchors)} anchors · "
        f"{len(prepared.dev)} dev probes, {len(prepared.test)} test probes"
    )
    if prepared.general_dropped:
        display.line(f"{prepared.general_dropped} general questions left out: they match a fact of the request")
    left_out = len(prepared.facts) - len(prepared.known)
    note = f" ({left_out} left out of the scores)" if left_out else ""
    trained = {fact.id for fact in prepared.trained}
    untrained = [fact.prompt for fact in prepared.facts if fact.id not in trained]
    if untrained:
        note = f" (not given to the plain question, so not trained: {'; '.join(untrained)})"
    display.line(f"Does the model know them?  {len(prepared.known)} of {len(prepared.facts)}{note}")


def say_trained(display: Display, trained: Trained, settings: ForgetSettings) -> None:
    """Say how training ended."""
    kind = f"LoRA r={trained.rank}" if settings.adapter.value == "lora" else f"keyed LoRA r={trained.rank}"
    scores = trained.outcome.best
    shown = shown_scores(scores.as_row()) if scores else "not evaluated"
    layers = f"{trained.layers[0]}-{trained.layers[-1]}"
    name = settings.recipe if settings.method == "lune" else settings.method
    display.line(
        f"{name}  {kind}, layers {layers}, {trained.parameters:,} trained numbers   "
        f"best step {trained.outcome.best_step} of {trained.outcome.steps} in {trained.outcome.passes} "
        f"{'pass' if trained.outcome.passes == 1 else 'passes'}   {shown}   {_clock(trained.seconds)}"
    )
    if trained.relapses:
        display.line(f"{len(trained.relapses)} negatives were added between passes, for what was still given away")
    display.line(f"stopped: {trained.outcome.stopped}", style="dim")
    if trained.outcome.plain_because:
        display.line(
            f"Every batch took the slower plain pass, with the same result: {trained.outcome.plain_because}.",
            style="dim",
        )
    if scores and scores.gur is not None and scores.gur < 1 - settings.max_utility_drop:
        display.line(
            f"The limit of utility was not met: dev GUR {scores.gur:.3f}, {1 - settings.max_utility_drop:.3f} wanted; "
            "kept is the step that weighs forgetting and utility best."
        )
    if trained.outcome.interrupted:
        display.line("Interrupted: the best adapter so far is kept and scored. Press Ctrl-C again to discard the run.")


def say_verdict(
    display: Display,
    verdict: Verdict,
    after: Scores,
    *,
    known: int,
    target: Path,
    model_id: str,
    seconds: float,
    with_neighbours: int,
    earlier: Sequence[EarlierScores] = (),
) -> None:
    """Say the verdict, its scores and reasons, and what to type next."""

    def shown(name: str, value: float | None) -> str:
        return f"{name} {'n/a' if value is None else f'{value:.3f}'}"

    named = {
        "USR": after["usr"],
        "APR": after["apr"],
        "neighbours": after["gur_neighbour"],
        "general": after["gur_general"],
    }
    if known == 0:  # the untouched model keeps everything, which is no score of unlearning
        named = dict.fromkeys(named)
    scores = "  ".join(shown(*item) for item in named.items())
    line = (f"  {scores}   {known} known facts   {_clock(seconds)}", "")
    display.line(Text.assemble((verdict.word, STYLES[verdict.word]), line))
    if known == 0:
        display.line("  Nothing was trained.")
    else:
        worst = after["apr_worst_case"]
        drawn_out = "" if worst is None else f"; some attack draws out {round(known * (1 - worst))} of {known} facts"
        display.line(f"  {shown('USR in other wordings', after['paraphrase_usr'])}{drawn_out}")
        display.line(f"  neighbours: {with_neighbours} of {known} facts have some")
    for each in earlier:
        told = (shown("USR", each.usr), shown("APR", each.apr), shown("neighbours", each.gur_neighbour))
        display.line(f"  earlier request {each.folder}: {'  '.join(told)}")
    if known and after["mia"]:
        aucs = ", ".join(shown(name, scores["auc"]) for name, scores in after["mia"].items())
        display.line(f"  Membership inference after, AUC (0.5: no trace; it does not decide the verdict): {aucs}")
    if verdict.word != "FORGOTTEN":
        for reason in verdict.reasons:
            display.line(f"  {reason}")
    display.line(f"report: {target / 'report.html'}")
    if (target / "adapter").is_dir():
        display.line(
            f"Next: lune evaluate {model_id} --adapter {target / 'adapter'} --probes {target / 'probes.jsonl'}"
        )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}m {int(seconds) % 60:02d}s"
