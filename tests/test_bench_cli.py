"""What ``lune bench`` refuses, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lune.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such"], "Unknown benchmark 'no-such'"),
        (["tofu", "knowundo"], "One benchmark at a time"),
        (["tofu", "--methods", "before,lun"], "unknown column 'lun'. Did you mean: lune"),
        (["tofu", "--methods", "lune,lune"], "lune is there twice"),
        (["tofu", "--seeds", "0,x"], "got 'x'"),
        (["tofu", "--seeds", ""], "no seed is named"),
        (["tofu", "--data", "no-folder"], "there is no folder no-folder"),
        (["tofu", "--set", "author=3"], "no option 'author'. Did you mean: authors"),
        (["tofu", "--set", "authors=many"], "allowed: a whole number"),
        (["tofu", "--set", "authors"], "allowed: key=value"),
        (["tofu", "--device", "tpu"], "--device"),
    ],
)
def test_bad_input_ends_with_status_2_before_anything_is_loaded(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_is_told_at_once_and_before_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "out").write_text("")
    arguments = ["tofu", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--set", "authors=7"]
    assert main(["bench", *arguments, "--model", "no/such-model", "--seeds", "x", "--methods", "lun"]) == 2
    said = capsys.readouterr().err
    assert "10 things are not valid; nothing was run." in said
    for problem in (
        "unknown column 'lun'", "got 'x'", "7 authors cannot be split", "there is no forget05_perturbed.json",
        "there is no full.json", f"--out {tmp_path / 'out'} is a file",
    ):  # fmt: skip
        assert problem in said, problem
    assert "no-such" not in said and "no/such-model" not in said, "the model was not looked for"


@pytest.mark.parametrize(
    ("name", "file", "wanted"),
    [
        ("tofu", "there is no full.json", "CONFIG.json"),
        ("rwku", "neither Target/ nor All/", "intro.json"),
        ("knowundo", "there is no privacy/unlearn.json", "privacy/retention.json"),
        ("edu-relat", "there is no subsample.pt", "synthetic_data/"),
        ("world", "there is no world.json", "docs/world.md"),
    ],
)
def test_a_folder_of_another_layout_is_named_with_what_is_missing_and_what_is_wanted(
    name: str, file: str, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", name, "--data", str(tmp_path), "--model", "no/such-model"]) == 2
    said = capsys.readouterr().err
    assert f"--data {tmp_path} does not have the layout of" in said and "docs/benchmarks.md, Data folders" in said
    assert file in said and wanted in said and "next: " in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "key"),
    [("seed: 3", "seed"), ("recipe: lune-paper", "recipe"), ("out: there", "out"), ("quiet: true", "quiet")],
)
def test_a_file_of_settings_holds_nothing_that_a_bench_decides_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, key: str
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"passes: 2\n{line}\n")
    assert main(["bench", "world", "--config", str(settings), "--model", "no/such-model"]) == 2
    assert f"settings.yaml:2: this command takes no '{key}' from a file." in " ".join(capsys.readouterr().err.split())


def test_a_folder_with_other_files_is_no_bench_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["bench", "world", "--out", str(tmp_path), "--model", "no/such-model"]) == 2
    assert f"--out {tmp_path} is no bench folder: it holds notes.txt" in capsys.readouterr().err
