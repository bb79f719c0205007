"""Load a run's adapter with plain transformers and PEFT, and compare its answers with the report's.

    python examples/plain_peft.py runs/demo
    python examples/plain_peft.py runs/mine path/or/hub-id-of-the-base-model

Answering needs no code of lune; only the built-in model's folder is asked of it. One prompt at a time, greedy, in
float32, which is how the run took its answers on a CPU.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

KINDS = ("direct", "paraphrase")
MAX_NEW_TOKENS = 32  # what a run lets probes of facts to forget answer


def base_folder(run: Path) -> str:
    """Return where the base model of the run is: the second argument, or what the run recorded."""
    if sys.argv[2:]:
        return sys.argv[2]
    model_id = json.loads((run / "run.json").read_text())["model"]["id"]
    if model_id == "smollm2-135m":
        from lune.builtin import built_in_folder

        return str(built_in_folder())
    return str(model_id)


def main() -> int:
    """Print every answer that differs, and how many are the same."""
    # Libraries' bars and notices about their own next releases are not what this prints.
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    if not sys.argv[1:] or not (Path(sys.argv[1]) / "run.json").is_file():
        print("Name the folder of a finished run: python examples/plain_peft.py runs/demo", file=sys.stderr)
        return 2
    run = Path(sys.argv[1])
    base = base_folder(run)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, run / "adapter").eval()
    probes = [json.loads(line) for line in (run / "probes.jsonl").open(encoding="utf-8")]
    probes = [probe for probe in probes if probe["kind"] in KINDS]
    same = 0
    for probe in probes:
        messages = [{"role": "user", "content": probe["prompt"]}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        ids = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        answer = tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        answer = answer.splitlines()[0].strip() if answer else ""
        same += answer == probe["after"]
        if answer != probe["after"]:
            print(f"{probe['prompt']}\n  report: {probe['after']}\n  here:   {answer}")
    print(f"{same} of {len(probes)} answers are those of the report")
    return 0 if same == len(probes) else 1


if __name__ == "__main__":
    sys.exit(main())
