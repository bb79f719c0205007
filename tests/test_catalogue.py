"""What the packages of plug-ins offer, without importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lune.benchmarks import benchmark
from lune.catalogue import catalogue
from lune.errors import ConfigError


def test_an_entry_is_its_file_and_the_first_line_of_its_docstring() -> None:
    entry = catalogue("lune.methods")["lune"]
    assert entry.module == "lune.methods.lune"
    assert entry.source.endswith("2512.07375")
    assert entry.summary.endswith(".")
    assert "\n" not in entry.summary


def test_modules_without_a_source_are_no_entries() -> None:
    assert "task" not in catalogue("lune.benchmarks")


def test_nothing_is_imported_to_be_listed() -> None:
    code = (
        "import sys; from lune.listing import groups; groups('methods'); assert 'lune.methods.lune' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_benchmark_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="nosuch"):
        benchmark("nosuch")
