"""Break one formula at a time in a copy of the project and see that its tests notice.

    python tools/break_formulas.py [WORD ...]      only the breaks whose file or text has one of the words

The breaks are in ``formula_breaks.py``. Exit status: 0 every break was noticed, 1 some were not, or a formula is no
longer written as it stands there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from formula_breaks import BREAKS, Break

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("src/lune")
COPIED = ("src", "tests", "tools", "docs", "results", "examples")


def text_of(each: Break, root: Path = ROOT) -> str:
    """Return the text of a break's module."""
    return (root / SOURCE / f"{each.file}.py").read_text(encoding="utf-8")


def main(words: list[str]) -> int:
    """Try the breaks that have one of ``words``, all without any; return the exit status."""
    chosen = [each for each in BREAKS if not words or any(word in f"{each.file} {each.right}" for word in words)]
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in COPIED:
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt"), ROOT / "Makefile"):
            shutil.copy(path, copy)
        for tests in sorted({each.tests for each in chosen}):
            if _run(tests, copy) != 0:
                print(f"tests/{tests}.py fails as it is: it would notice anything")
                return 1
        for each in chosen:
            found = "not there" if each.right not in text_of(each) else _try(each, copy)
            bad += found != "noticed"
            print(f"{found:12} {each.file}: {each.right.splitlines()[0]}  ->  {each.wrong.splitlines()[0]}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} breaks were noticed")
    return 1 if bad else 0


def _try(each: Break, copy: Path) -> str:
    path = copy / SOURCE / f"{each.file}.py"
    whole = text_of(each)
    path.write_text(whole.replace(each.right, each.wrong, 1), encoding="utf-8")
    try:
        return "noticed" if _run(each.tests, copy) == 1 else "NOT NOTICED"
    finally:
        path.write_text(whole, encoding="utf-8")


def _run(tests: str, copy: Path) -> int:
    """Return pytest's exit status: 0 passed, 1 failed, others where it did not get that far."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{tests}.py"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
