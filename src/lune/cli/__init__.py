"""The command line: one file a command, each a thin layer over ``lune.pipeline``. Nothing here imports torch."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from lune import __version__
from lune.cli.attack import attack
from lune.cli.bench import bench
from lune.cli.demo import demo
from lune.cli.evaluate import evaluate
from lune.cli.failures import INTERRUPTED, exit_status, usage_error
from lune.cli.forget import forget
from lune.cli.help import epilog
from lune.cli.ls import ls
from lune.cli.negatives import negatives
from lune.cli.teach import teach
from lune.cli.utility import utility

TERMINATED = 143

app = typer.Typer(
    name="lune",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lune {__version__}")
        raise typer.Exit


@app.callback(epilog=epilog("lune demo", "lune forget facts.jsonl", "lune forget --help"))
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Make a language model forget named facts, and measure what was forgotten and what was kept."""


app.command(epilog=epilog("lune demo", "lune demo --recipe lune-paper --out runs/demo-paper"))(demo)
app.command(
    epilog=epilog(
        "lune forget facts.jsonl",
        "lune forget facts.csv --model Qwen/Qwen2.5-0.5B-Instruct --out runs/qwen",
        "lune forget facts.jsonl --recipe lune-paper --passes 4 --no-early-stop",
        "lune forget facts.jsonl --config settings.yaml --force",
        """echo '{"prompt": "Who wrote Emma?", "answer": "Jane Austen"}' | lune forget -""",
    )
)(forget)
app.command(
    epilog=epilog(
        "lune evaluate smollm2-135m --probes probes.jsonl",
        "lune evaluate smollm2-135m --probes probes.jsonl --adapter runs/demo/adapter",
        "lune evaluate ./my-model --probes runs/demo/probes.jsonl --out scores.json",
    )
)(evaluate)
app.command(
    epilog=epilog(
        "lune attack runs/demo",
        "lune attack runs/demo --with relearn,nf4,sampling --budget quick",
        "lune attack runs/demo --budget strong --seed 1 --out attacks.json",
    )
)(attack)
app.command(
    epilog=epilog(
        "lune negatives facts.jsonl", "lune negatives facts.jsonl --negatives-per-fact 16 --out negatives.jsonl"
    )
)(negatives)
app.command(
    epilog=epilog(
        "lune bench tofu --quick",
        "lune bench tofu --data ./tofu --set split=forget01 --methods before,lune",
        "lune bench --table runs/bench-tofu",
    )
)(bench)
app.command(
    epilog=epilog(
        "lune teach tofu --quick --out runs/tofu",
        "lune teach tofu --data ./TOFU --set split=forget10 --set authors=100",
        "lune teach facts.jsonl --forget secrets.jsonl --passes 8",
    )
)(teach)
app.command(
    epilog=epilog(
        "lune utility smollm2-135m --data rwku/All --limit 100",
        "lune utility smollm2-135m --adapter runs/demo/adapter --data rwku/All",
        "lune utility smollm2-135m --lm-eval piqa,arc_easy",
    )
)(utility)
app.command(epilog=epilog("lune ls methods", "lune ls attacks"))(ls)


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End by an exception, so that what is staged is removed on the way out."""
    raise SystemExit(TERMINATED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: What stands behind ``lune``; the process's own arguments when not given.

    Returns:
        0 done and FORGOTTEN, 1 done with another verdict, 2 bad input or configuration, 3 the run failed,
        130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    before = signal.signal(signal.SIGTERM, _end)
    try:
        status = app(given or ["--help"], prog_name="lune", standalone_mode=False, obj=shlex.join(["lune", *given]))
        sys.stdout.flush()
        if status == INTERRUPTED:  # typer's own translation of Ctrl-C
            raise KeyboardInterrupt
        return int(status or 0)
    except typer.TyperException as error:
        return exit_status(usage_error(error.format_message()), given)
    except (Exception, KeyboardInterrupt) as error:
        return exit_status(error, given)
    finally:
        signal.signal(signal.SIGTERM, before)
