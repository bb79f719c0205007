"""The list of formulas to break names formulas that stand in the code, each once, and tests that exist."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import break_formulas  # noqa: E402  (tools/ is no package; the line above makes it importable)


@pytest.mark.parametrize("each", break_formulas.BREAKS, ids=lambda each: f"{each.file}: {each.wrong[:20]}")
def test_a_formula_to_break_stands_in_the_code_once(each: break_formulas.Break) -> None:
    assert break_formulas.text_of(each).count(each.right) == 1
    assert each.right != each.wrong
    assert (ROOT / "tests" / f"{each.tests}.py").is_file()
