"""``lune utility``: how much a model can still do in general."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lune.cli.evaluate import AdapterOption, ForceOption, OutOption, check_adapter
from lune.cli.forget import make_console
from lune.cli.options import QuietOption, with_settings
from lune.errors import ConfigError
from lune.outputs import check_output_file

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="Files of RWKU's layout: any of retain_mmlu.json, retain_bbh.json, truthful.json, triviaqa.json, "
        "fluency.json.",
    ),
]
HarnessOption = Annotated[
    str | None,
    typer.Option(
        "--lm-eval",
        metavar="TASKS",
        help="Tasks of EleutherAI's lm-evaluation-harness, comma separated: names or .yaml files.",
    ),
]
ChatOption = Annotated[
    bool, typer.Option("--lm-eval-chat", help="Ask the harness's tasks through the model's chat template.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Most questions of each kind.")]


@with_settings("device", "dtype", "seed")
def utility(
    *,
    given: dict[str, object],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, local folder, or the built-in model's name.")],
    adapter: AdapterOption = None,
    data: DataOption = None,
    lm_eval: HarnessOption = None,
    lm_eval_chat: ChatOption = False,
    limit: LimitOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score a model on general knowledge, truthfulness and fluency.

    Beside the scores of --out FILE.json the answer to each question of --data goes to FILE.answers.jsonl.
    """
    from lune.cli.config import resolve_invocation
    from lune.metrics.harness import check_harness
    from lune.metrics.utility import answers_file, read_utility

    settings = resolve_invocation({**given, "model": model}).settings
    tasks = [task.strip() for task in (lm_eval or "").split(",") if task.strip()]
    if data is None and lm_eval is None:
        raise ConfigError("There is nothing to measure.", hint="name a folder with --data, or tasks with --lm-eval")
    if lm_eval is not None:
        check_harness(tasks)
    tables = read_utility(data, limit) if data is not None else {}
    if adapter is not None:
        check_adapter(adapter)
    if out is not None:
        check_output_file(out, force=force)
        if tables:
            check_output_file(answers_file(out), force=force)

    from lune.utility import run_utility

    run_utility(
        model=settings.model,
        adapter=adapter,
        tables=tables,
        tasks=tasks,
        chat=lm_eval_chat,
        limit=limit,
        out=out,
        device=settings.device,
        dtype=settings.dtype,
        seed=settings.seed,
        console=make_console(quiet),
    )
    if quiet and out is not None:
        typer.echo(out)
