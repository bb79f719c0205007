"""A run on two processes gives the adapter of a run on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
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
# One write: the launcher unbuffers the processes, and print would write the line and its end apart.
os.write(1, f"process {os.environ.get('RANK', '0')} of {os.environ.get('WORLD_SIZE', '1')}\\n".encode())
status = main(sys.argv[1:])
sys.exit(0 if status in (0, 1) else status)
"""
# An odd batch size: the processes' shares differ, and the last batch may leave one of them without a row.
SETTINGS = {
    "device": "cpu", "dtype": "float32", "anchors": 24, "passes": 2, "batch_size": 13, "learning_rate": 2e-3,
    "early_stop": False,
}  # fmt: skip


def run_on_two_processes(folder: Path, model: Path, request: Path, settings: dict[str, object]) -> None:
    """Run `lune forget` in two processes by `accelerate launch`.

    With --cpu it starts one process, whatever number it is given; --multi_gpu is its word for several, on CPUs as well.
    """
    script = folder.with_name("run_lune.py")
    script.write_text(SCRIPT)
    config = folder.with_name("settings.yaml")
    config.write_text(yaml.safe_dump({**settings, "model": str(model), "out": str(folder)}))
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
                "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")  # fmt: skip
    done = subprocess.run(
        [sys.executable, *launcher, str(script), "forget", str(request), "--config", str(config)],
        env={**os.environ, "PYTHONPATH": f"{SOURCE}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"process {rank} of 2\n" in done.stdout for rank in (0, 1))
    assert done.stdout.count("report: ") == 1, "one process speaks"


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        {"adapter": "lora"},
        {"adapter": "keyed", "learning_rate": 0.05},
        {"adapter": "lora", "method": "dpo", "dropout": 0.0},
    ],
    ids=lambda kind: kind.get("method", kind["adapter"]),
)
def test_two_processes_give_the_adapter_of_one(
    kind: dict[str, object], tiny_folder: Path, request_file: Path, tmp_path: Path, only_taught: None
) -> None:
    settings = {**SETTINGS, **kind}
    lune.forget(request_file, out=tmp_path / "run-1", model=str(tiny_folder), **settings)
    run_on_two_processes(tmp_path / "run-2", tiny_folder, request_file, settings)
    left = {path.name for path in tmp_path.iterdir()}
    made = {"run_lune.py", "settings.yaml", request_file.name}
    assert left == {"run-1", "run-2", *made}, "the second process leaves nothing"
    one, two = (load_file(tmp_path / f"run-{n}" / "adapter" / "adapter_model.safetensors") for n in (1, 2))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(
            two[name], tensor, atol=1e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
    records = [json.loads((tmp_path / f"run-{n}" / "run.json").read_text()) for n in (1, 2)]
    assert records[0]["verdict"] == records[1]["verdict"]
    assert records[0]["metrics"]["after"]["usr"] == records[1]["metrics"]["after"]["usr"]
