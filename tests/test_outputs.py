"""Outputs appear whole or not at all, and what the file system refuses is one clear error."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import lune
from lune.errors import OutputError, RunError
from lune.outputs import (
    RunFolder,
    as_output_error,
    check_output_file,
    default_run_folder,
    free_space_check,
    write_json,
    write_jsonl,
    write_text,
)

FULL_DEVICE = Path("/dev/full")
needs_full_device = pytest.mark.skipif(not FULL_DEVICE.exists(), reason="there is no /dev/full here")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tree(folder: Path) -> list[str]:
    """Return every path below ``folder``, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def finished_run(folder: Path, text: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    return folder


def finish(out: Path | None, *, force: bool = False, text: str = "new") -> Path:
    with RunFolder(out, default=Path("runs/facts"), force=force) as folder:
        (folder.path / "run.json").write_text(text)
        return folder.commit()


def test_a_run_folder_appears_at_commit_and_not_before(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with RunFolder(target, default=Path("runs/x")) as folder:
        assert folder.target == target
        (folder.path / "run.json").write_text("{}")
        assert not target.exists()
        assert folder.commit() == target
        assert folder.path == target
    assert tree(tmp_path) == ["a", "a/b", "a/b/run.json"]


@pytest.mark.parametrize("error", [RunError("diverged"), KeyboardInterrupt(), SystemExit(143), ValueError("x")])
def test_what_was_staged_goes_when_the_run_ends_early(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), RunFolder(Path("a/b"), default=Path("runs/x")) as folder:
        (folder.path / "adapter").mkdir()
        (folder.path / "adapter" / "weights").write_text("x")
        raise error
    assert tree(tmp_path) == []


def test_parents_that_were_there_or_are_used_by_others_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with RunFolder(Path("there/made/run"), default=Path("runs/x")):
        (tmp_path / "there" / "made" / "other").write_text("x")
    assert tree(tmp_path) == ["there", "there/made", "there/made/other"]


def test_an_existing_folder_is_refused_before_anything_is_staged(tmp_path: Path) -> None:
    finished_run(tmp_path / "run")
    with pytest.raises(OutputError, match="run exists already") as caught, RunFolder(Path("run"), default=Path("r")):
        pytest.fail("the run began")
    assert "--force" in caught.value.hint
    assert caught.value.exit_status == 2
    assert tree(tmp_path) == ["run", "run/run.json"]


def test_force_replaces_a_run_at_commit_only(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    (run / "old.txt").write_text("x")
    with pytest.raises(RunError), RunFolder(run, default=Path("r"), force=True) as folder:
        (folder.path / "run.json").write_text("new")
        raise RunError("diverged")
    assert tree(tmp_path) == ["run", "run/old.txt", "run/run.json"]
    assert finish(run, force=True) == run
    assert tree(tmp_path) == ["run", "run/run.json"]
    assert (run / "run.json").read_text() == "new"


def test_force_replaces_an_empty_folder_and_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    finish(tmp_path / "empty", force=True)
    assert (tmp_path / "empty" / "run.json").read_text() == "new"
    (tmp_path / "link").symlink_to(finished_run(tmp_path / "real"))
    finish(tmp_path / "link", force=True, text="through the link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "run.json").read_text() == "through the link"


@pytest.mark.parametrize("make", ["folder", "file", "dangling", "loop"])
def test_force_never_replaces_what_is_no_run_folder(tmp_path: Path, make: str) -> None:
    place = tmp_path / "mine"
    if make == "folder":
        (place / "thesis").mkdir(parents=True)
    elif make == "file":
        place.write_text("x")
    else:
        place.symlink_to("nowhere" if make == "dangling" else "mine")
    before = tree(tmp_path)
    with pytest.raises(OutputError), RunFolder(place, default=Path("r"), force=True):
        pytest.fail("the run began")
    assert tree(tmp_path) == before


def test_without_out_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    assert [finish(None), finish(None), finish(None)] == [
        Path("runs/facts"),
        Path("runs/facts-2"),
        Path("runs/facts-3"),
    ]
    assert finish(None, force=True) == (tmp_path / "runs" / "facts")


def test_a_name_that_is_taken_during_the_run_does_not_lose_the_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", default=Path("r")) as folder:
        finished_run(tmp_path / "run", "the other's")
        (folder.path / "run.json").write_text("mine")
        assert folder.commit() == tmp_path / "run-2"
    assert (tmp_path / "run" / "run.json").read_text() == "the other's"
    assert (tmp_path / "run-2" / "run.json").read_text() == "mine"


def test_a_leftover_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    leftover = tmp_path / f".run.partial-{os.getpid()}"
    leftover.mkdir()
    assert finish(tmp_path / "run").is_dir()
    assert leftover.is_dir()


@pytest.mark.parametrize("out", ["/proc/run", "/proc/new/run", "file/run", "n" * 250])
def test_a_folder_that_cannot_be_made_is_one_error_and_leaves_nothing(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"), RunFolder(Path(out), default=Path("r")):
        pytest.fail("the run began")
    assert tree(tmp_path) == ["file"]


@needs_full_device
def test_a_disk_that_fills_up_during_the_run_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="run cannot be written: the disk is full"),
        RunFolder(Path("run"), default=Path("r")) as folder,
    ):
        (folder.path / "adapter").write_text("x")
        FULL_DEVICE.write_text("x")
    assert tree(tmp_path) == []


def test_a_full_disk_is_recognised_in_the_words_of_other_libraries() -> None:
    error = as_output_error(RuntimeError("I/O error: No space left on device (os error 28)"), "run")
    assert error is not None
    assert error.message == "run cannot be written: the disk is full."
    assert as_output_error(RunError("no space left on device")) is None
    assert as_output_error(ConnectionError(errno.ECONNREFUSED, "refused")) is None


@contextmanager
def small_disk(options: str) -> Iterator[tuple[list[str], str]]:
    """Give a command prefix that mounts a tmpfs of its own at ``disk``, or skip where that is not permitted."""
    mount = f"mkdir -p disk && mount -t tmpfs -o {options} tmpfs disk"
    prefix = ["unshare", "--mount", "sh", "-c", mount + ' && exec "$@"', "sh"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no tmpfs can be mounted here")
    yield prefix, "disk/run"


@pytest.mark.parametrize(
    ("options", "reason"), [("size=32k", "the disk is full"), ("ro,size=1m", "the file system is read-only")]
)
def test_a_full_or_read_only_disk_is_named_before_the_run(options: str, reason: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(lune.__file__).parents[1])}
    Path("facts.jsonl").write_text('{"prompt": "What is the capital of France?", "answer": "Paris"}')
    with small_disk(options) as (prefix, out):
        command = [*prefix, sys.executable, "-m", "lune", "forget", "facts.jsonl", "--out", out]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[0] == f"error[bad-output]: {out} cannot be written: {reason}."
    assert result.returncode == 2


def test_free_space_is_compared_with_the_need(tmp_path: Path) -> None:
    free_space_check(tmp_path / "not" / "there" / "yet", 0.001)
    with pytest.raises(OutputError, match=r"has [\d,]+ MB free, and about 1,000,000,000,000 MB are needed"):
        free_space_check(tmp_path / "run", 1e12)


@dataclass(frozen=True)
class Score:
    name: str
    value: float
    place: Path


def test_json_holds_plain_data_dataclasses_and_null_for_what_is_not_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"scores": (Score("é", float("nan"), Path("x/y")),), "n": 3})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"scores": [{"name": "é", "value": None, "place": "x/y"}], "n": 3}
    assert "é" in text
    write_jsonl(tmp_path / "a.jsonl", [{"loss": float("inf")}, Score("b", 0.5, Path("z"))])
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows == [{"loss": None}, {"name": "b", "value": 0.5, "place": "z"}]
    assert tree(tmp_path) == ["a.json", "a.jsonl"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert tree(tmp_path) == ["a.json"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "no" / "a.json", "x")


def test_an_output_file_is_checked_without_touching_it(tmp_path: Path) -> None:
    check_output_file(tmp_path / "new.json")
    assert tree(tmp_path) == []
    (tmp_path / "old.json").write_text("x")
    with pytest.raises(OutputError, match="exists already"):
        check_output_file(tmp_path / "old.json")
    check_output_file(tmp_path / "old.json", force=True)
    assert (tmp_path / "old.json").read_text() == "x"
    for place, message in [
        (tmp_path, "is a folder"),
        (Path(os.devnull), "is not a regular file"),
        (tmp_path / "no" / "a.json", "there is no folder"),
        (Path("/proc/a.json"), "cannot be written"),
    ]:
        with pytest.raises(OutputError, match=message):
            check_output_file(place, force=True)


def test_a_run_is_named_after_its_request() -> None:
    assert default_run_folder("data/my facts.v2.jsonl") == Path("runs/my facts.v2")
    assert default_run_folder("-") == Path("runs/request")
