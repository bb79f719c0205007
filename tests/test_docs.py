"""The documents agree with the code: generated pages, error codes, examples, links."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM
from typer.main import get_command

import lune.errors
from lune.cli import main
from lune.settings import BUILT_IN_MODEL

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import make_docs  # noqa: E402  (tools/ is no package; the line above makes it importable)

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```([\w-]+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(language: str) -> Iterator[tuple[Path, int, str]]:
    """Yield path, line and text of every fenced block of a language in the documents."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                yield path, text.count("\n", 0, match.start()) + 1, match[2]


def readme_request(folder: Path) -> Path:
    """Write the request that the README shows into ``folder``."""
    [text] = [text for path, _, text in blocks("json") if path == ROOT / "README.md"]
    request = folder / "facts.jsonl"
    request.write_text(text)
    return request


def on_model(command: str, model: Path) -> list[str]:
    """Return a command's arguments with a model of the test's in the place of the built-in one."""
    words = ["" if word == BUILT_IN_MODEL else word for word in shlex.split(command, comments=True)[1:]]
    named = [word or str(model) for word in words]
    return named if named != words else [*named, "--model", str(model)]


def commands() -> list[tuple[str, str]]:
    """Return place and text of every ``lune`` command in the documents' console blocks."""
    found = []
    for path, line, text in blocks("console"):
        for command in re.findall(r"^\$ (.+)$", text.replace("\\\n", " "), re.MULTILINE):
            found += [(f"{name(path)}:{line}", part) for part in lune_parts(command)]
    return found


def lune_parts(command: str) -> list[str]:
    """Return the pipeline's and list's parts that call ``lune``, without redirections and comments."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set("|&;"):
            parts.append([])
        else:
            parts[-1].append(token)
    kept = [part[: next((i for i, token in enumerate(part) if set(token) <= set("<>")), len(part))] for part in parts]
    return [shlex.join(part) for part in kept if part and Path(part[0]).name == "lune"]


def parse(command: str) -> None:
    """Check a command's names, flags and number of arguments against the command line, without running it.

    Raises:
        Exception: typer's own usage error, when the command line would not accept it.
    """
    from lune.cli import app

    context: Any = get_command(app).make_context("lune", [], resilient_parsing=True)
    words = shlex.split(command)[1:]
    while hasattr(context.command, "get_command") and words and not words[0].startswith("-"):
        sub = context.command.get_command(context, words[0])
        assert sub is not None, f"`{context.command_path}` has no command '{words[0]}'"
        context = type(context)(sub, info_name=words.pop(0), parent=context)
    _, rest, _ = context.command.make_parser(context).parse_args(list(words))
    assert not rest, f"`{context.command_path}` does not take {rest}"


def refusal(command: str) -> str:
    """Return why the command line would not accept a command, an empty text when it would."""
    try:
        parse(command)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual Markdown viewers make them."""
    headings = HEADING.findall(
        re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    )
    plain = [re.sub(r"[`*]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", ["commands.md", "settings.md", "modules.md", "results.md"])
def test_generated_pages_are_current(page: str) -> None:
    path = ROOT / "docs" / page
    assert path.read_text(encoding="utf-8") == make_docs.PAGES[path](), f"{name(path)} is out of date: run `make docs`"


def test_every_error_code_has_a_section_and_every_section_a_code() -> None:
    family = [
        kind for _, kind in inspect.getmembers(lune.errors, inspect.isclass) if issubclass(kind, lune.errors.LuneError)
    ]
    codes = {kind.code: kind.exit_status for kind in family}
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\S+)\n\nExit status (\d)\.", text, re.MULTILINE))
    assert len(codes) == len(family), "each error has a code of its own"
    assert set(re.findall(r"^## (.+)$", text, re.MULTILINE)) == set(codes)
    assert {code: int(status) for code, status in sections.items()} == codes


@pytest.mark.parametrize("path", sorted({path for path, _, _ in blocks("python")}), ids=name)
def test_python_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "example"}
    examples = [(line, text) for where, line, text in blocks("python") if where == path]
    for line, text in examples:
        # Blank lines first, so that a failure shows the document's own line numbers.
        exec(compile("\n" * line + text, str(path), "exec"), scope)
    assert examples


@pytest.mark.slow
def test_the_commands_and_code_of_the_readme_run(
    only_taught: None, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    readme_request(tmp_path)
    shown = [command for place, command in commands() if place.startswith("README.md:")]
    shown = [command for command in shown if "facts.jsonl" in command or "evaluate" in command]
    ran = [command.split()[1] for command in shown]
    assert set(ran) == {"negatives", "forget", "evaluate"}
    # What would download another model, and what only the demo leaves, are replaced by the run above them.
    for command in shown:
        if "--model" in command:
            continue
        local = command.replace("runs/demo", "runs/mine")
        assert main(on_model(local, tiny_folder)) in (0, 1), command
    base_model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    examples = [(line, text) for path, line, text in blocks("py") if path == ROOT / "README.md"]
    assert examples
    for line, text in examples:
        scope: dict[str, Any] = {"__name__": "example", "base_model": base_model}
        exec(compile("\n" * line + text, "README.md", "exec"), scope)
        assert any("lora" in name for name, _ in scope["model"].named_parameters())


@pytest.mark.parametrize(("place", "command"), commands())
def test_commands_in_the_documents_parse(place: str, command: str) -> None:
    assert refusal(command) == "", f"{place}: `{command}` is not accepted"


@pytest.mark.parametrize("command", ["lune forget a.jsonl --no-such-flag", "lune no-such-command", "lune forget a b"])
def test_a_command_that_would_fail_is_noticed(command: str) -> None:
    assert re.search(r"no-such|does not take", refusal(command))


def test_commands_are_found_inside_pipes_and_redirections() -> None:
    line = "cat facts.csv | .venv/bin/lune forget - --seed 1 > log.txt && lune ls methods"
    assert lune_parts(line) == [".venv/bin/lune forget - --seed 1", "lune ls methods"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for match in LINK.finditer(text):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        page = (path.parent / file) if file else path
        if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
            broken.append(target)
    assert not broken, f"{name(path)} links to what is not there: {broken}"


def test_every_page_is_listed_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))
