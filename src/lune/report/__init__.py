"""The report of a run: ``report.html``, one page that needs no network, and ``report.md``, the same in short.

Both are made from the files of the run folder alone, so a folder can be reported again years later,
on a machine without the model.
"""

from __future__ import annotations

import os
from pathlib import Path

from lune.errors import OutputError
from lune.report.content import build_content
from lune.report.folder import read_run_folder
from lune.report.html import render_html
from lune.report.markdown import render_markdown

__all__ = ["write_report"]


def write_report(run_folder: Path) -> None:
    """Write ``report.html`` and ``report.md`` into ``run_folder``, replacing those that are there.

    Args:
        run_folder: A folder with at least ``run.json``; what else is missing is left out of the report.

    Raises:
        OutputError: When the folder's files cannot be read, or the reports not written. Neither
            report is touched then.
    """
    content = build_content(read_run_folder(run_folder))
    pages = {"report.html": render_html(content), "report.md": render_markdown(content)}
    waiting = {name: run_folder / f".{name}.{os.getpid()}" for name in pages}
    try:
        for name, page in pages.items():
            # JSON can hold half a surrogate pair, which no encoding can: it becomes a question mark.
            waiting[name].write_bytes(page.encode("utf-8", "replace"))
        for name in pages:
            waiting[name].replace(run_folder / name)
    except OSError as error:
        raise OutputError(
            f"The report cannot be written to {run_folder}: {error.strerror or error}.",
            hint="make room on the disk and the folder writable, then write the report again",
        ) from error
    finally:
        for path in waiting.values():
            path.unlink(missing_ok=True)
