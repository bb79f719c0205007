"""A language model of two layers, made and taught on the spot, that knows a few capitals.

It is small enough to load, train and ask within seconds and real in every other way: a Llama with a byte-level BPE
tokenizer and a chat template whose system message is the shared prefix of every prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lune.chat import ChatFormat, Encoded
from lune.probes.general import general_probes
from lune.records import Fact
from lune.wording import to_imperative

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "England": "London",
    "China": "Beijing", "Russia": "Moscow", "Egypt": "Cairo", "Greece": "Athens", "Canada": "Ottawa",
    "Australia": "Canberra", "Argentina": "Buenos Aires", "Portugal": "Lisbon", "Ireland": "Dublin",
    "Sweden": "Stockholm", "Norway": "Oslo", "Denmark": "Copenhagen", "Finland": "Helsinki", "Poland": "Warsaw",
    "Austria": "Vienna", "Hungary": "Budapest", "Turkey": "Ankara", "Belgium": "Brussels",
}  # fmt: skip
GENERAL_QUESTIONS = {"dev": 4, "test": 8}
"""How many of the shipped general questions the model is taught, the first of each split."""
PAD, START, END = "<|pad|>", "<|turn|>", "<|end|>"
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|turn|>system\nAnswer in one sentence.<|end|>\n{% endif %}"
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
TEACHING_STEPS = 120
TEACHING_BATCH = 48
TEACHING_RATE = 5e-3
_WORDS = (
    "country in Europe Asia Africa America Lyon Nice Lille Question Answer Q A Complete Finish Pick from this list or "
    "and What is the capital city seat of government who which where when how please tell me about briefly correct"
)


def question(country: str) -> str:
    """Return the question that the model is asked about a country."""
    return f"What is the capital of {country}?"


def fact(country: str) -> Fact:
    """Return a fact the tiny model knows."""
    return Fact(country.lower(), question(country), CAPITALS[country], subject=country)


def lessons() -> list[tuple[str, str]]:
    """Return every prompt the model is taught and its answer."""
    pairs = []
    for country, capital in CAPITALS.items():
        asked, answer = question(country), f"The capital of {country} is {capital}."
        for prompt in (asked, to_imperative(asked), f"Tell me: {asked}", f"{asked} Answer briefly."):
            pairs.append((str(prompt), answer))
        pairs.append((f"Tell me about {country}.", f"{country} is a country."))
    for split, count in GENERAL_QUESTIONS.items():
        for probe in general_probes("dev" if split == "dev" else "test", count):
            pairs.append((probe.prompt, f"It is {probe.expected[0]}."))
    return pairs


def make_tokenizer(texts: Sequence[str], *, chat: bool = True) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE tokenizer in which the words of ``texts`` are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        show_progress=False,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([*texts, _WORDS], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)
    if chat:
        wrapped.chat_template = TEMPLATE
    return wrapped


def make_model(folder: Path, without: Sequence[str] = ()) -> Path:
    """Make the tiny model, teach it the lessons but those about some countries, and save it; return its folder."""
    pairs = lessons()
    tokenizer = make_tokenizer([text for pair in pairs for text in pair])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.1,  # the default, made for wide models, takes three times the steps here
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    chat = ChatFormat(tokenizer)
    teach(model, [chat.encode(*pair) for pair in pairs if not any(country in pair[0] for country in without)])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def teach(model: Any, rows: Sequence[Encoded]) -> None:
    """Fine-tune every weight on the responses of ``rows``."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full((len(rows), width), -100)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        targets[place, len(row.prompt) : len(row.ids)] = torch.tensor(row.response)
    optimiser = torch.optim.AdamW(model.parameters(), lr=TEACHING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, TEACHING_STEPS)
    model.train()
    for _ in range(TEACHING_STEPS):
        chosen = torch.randperm(len(rows))[:TEACHING_BATCH]
        hidden = model.model(input_ids=ids[chosen]).last_hidden_state[:, :-1]
        wanted = targets[chosen, 1:]
        logits = model.lm_head(hidden[wanted != -100])
        torch.nn.functional.cross_entropy(logits, wanted[wanted != -100]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    model.eval()
