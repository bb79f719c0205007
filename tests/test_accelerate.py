"""A run on two processes gives the adapter of a run on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lune

SOURCE = Path(lune.__file__).parents[1]
SCRIPT = """
import os
import sys

from tiny import CAPITALS, GENERAL_QUESTIONS

from lune import preparation
from lune.cli import main
from lune.probes import surroundings

preparation.GENERAL_QUESTIONS = GENERAL_QUESTIONS
surroundings.BEST_KNOWN = len(CAPITALS)
print("process", os.environ.get("RANK", "0"), "of", os.environ.get("WORLD_SIZE", "1"), flush=True)
status = main(sys.argv[1:])
sys.exit(0 if status in (0, 1) else status)
"""
# An odd batch size: the processes' shares differ, and the last batch may leave one of them without a row.
SETTINGS = (
    *("--device", "cpu", "--dtype", "float32", "--anchors", "24", "--passes", "2", "--batch-size", "13"),
    *("--adapter", "lora", "--learning-rate", "2e-3", "--no-early-stop"),
)


def run(processes: int, folder: Path, model: Path, request: Path) -> None:
    """Run `lune forget` in ``processes`` processes of `accelerate launch`, or plainly when it is one."""
    script = folder.parent / "run_lune.py"
    script.write_text(SCRIPT)
    options = ("--cpu", "--num_processes", str(processes), "--num_cpu_threads_per_process", "1")
    launcher = ("-m", "accelerate.commands.launch", *options)
    done = subprocess.run(
        [
            *(sys.executable, *(launcher if processes > 1 else ())),
            *(str(script), "forget", str(request), "--model", str(model), "--out", str(folder), *SETTINGS),
        ],
        env={**os.environ, "PYTHONPATH": f"{SOURCE}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"process {rank} of {processes}\n" in done.stdout for rank in range(processes))
    assert done.stdout.count("report: ") == 1, "one process speaks"


@pytest.mark.slow
def test_two_processes_give_the_adapter_of_one(tiny_folder: Path, request_file: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        run(processes, tmp_path / f"run-{processes}", tiny_folder, request_file)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"run-1", "run-2", "run_lune.py", request_file.name}, (
        "the second process leaves no folder of its own"
    )
    one, two = (load_file(tmp_path / f"run-{n}" / "adapter" / "adapter_model.safetensors") for n in (1, 2))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3, msg=name)
    records = [json.loads((tmp_path / f"run-{n}" / "run.json").read_text()) for n in (1, 2)]
    assert records[0]["verdict"] == records[1]["verdict"]
    assert records[0]["metrics"]["after"]["usr"] == records[1]["metrics"]["after"]["usr"]
