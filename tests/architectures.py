"""Random models of several families, two layers each, with one tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers import models as families

from lune.chat import ChatFormat
from lune.models import LoadedModel
from tiny import make_tokenizer

TEXTS = ["What is the capital of France?", "The capital of France is Paris.", "Name a colour.", "Question: \nAnswer:"]
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "llama": families.llama.LlamaConfig,
    "mistral": families.mistral.MistralConfig,
    "qwen2": families.qwen2.Qwen2Config,
    "gemma": families.gemma.GemmaConfig,
    "phi": families.phi.PhiConfig,
    "gpt2": families.gpt2.GPT2Config,
    "gpt_neox": families.gpt_neox.GPTNeoXConfig,
}


TEMPLATES = {
    # As Gemma's: no system role, and the assistant is called model.
    "no-system": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}<|turn|>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
        "{{ message['content'] | trim }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|turn|>model\n{% endif %}"
    ),
    # Knows no system role and says nothing about it.
    "deaf": (
        "{% for message in messages if message['role'] != 'system' %}<|turn|>{{ message['role'] }}\n"
        "{{ message['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    ),
    # As Phi-3's: the end of the turn, and then the end of the text.
    "two-ends": (
        "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|turn_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% else %}{{ eos_token }}{% endif %}"
    ),
    # As Qwen3's: thinks before it answers unless told not to.
    "thinking": (
        "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    ),
    # An end of turn that is ordinary text.
    "plain-end": (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }} ### \n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    ),
}


def make_chat(template: str, end_ids: frozenset[int] = frozenset()) -> ChatFormat:
    """Return the chat format of a tokenizer with one of ``TEMPLATES``; it has a token ``<|turn_end|>`` of its own."""
    tokenizer = make_tokenizer(TEXTS)
    tokenizer.add_tokens(["<|turn_end|>"], special_tokens=True)
    tokenizer.chat_template = TEMPLATES[template]
    return ChatFormat(tokenizer, end_ids=end_ids)


def make_random(family: str, *, chat: bool = True, **more: Any) -> LoadedModel:
    """Return a random model of a family, as `load_model` would: frozen, float32, in evaluation mode.

    Args:
        family: A key of ``CONFIGS``.
        chat: Whether its tokenizer has a chat template.
        **more: Further values of its configuration.
    """
    tokenizer: PreTrainedTokenizerBase = make_tokenizer(TEXTS, chat=chat)
    end = tokenizer.eos_token_id
    ids = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": end,
        "eos_token_id": end,
    }
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256} if family == "gpt2" else SIZES
    if family in ("phi", "gpt_neox"):
        sizes = {name: size for name, size in sizes.items() if name not in ("head_dim", "num_key_value_heads")}
    torch.manual_seed(1)
    # Large weights, so that what the model says depends on what it reads.
    config = CONFIGS[family](**ids, **sizes, initializer_range=0.3, **more)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    model.requires_grad_(False)
    model.eval()
    return LoadedModel(model, tokenizer, f"random-{family}", f"random-{family}", None, "0" * 64)
