"""How a prompt becomes tokens: the chat template where there is one, a plain question/answer form where not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerBase

_MARK = "\u2063RESPONSE\u2063"


@dataclass(frozen=True)
class Encoded:
    """Token ids of a prompt and, after them, of a response (which may be empty)."""

    prompt: tuple[int, ...]
    response: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """All token ids in order."""
        return self.prompt + self.response


@dataclass(frozen=True)
class ChatFormat:
    """Renders what a user types, and an assistant's response, for one tokenizer."""

    tokenizer: PreTrainedTokenizerBase

    @property
    def has_template(self) -> bool:
        """Whether the tokenizer brings a chat template."""
        return bool(self.tokenizer.chat_template)

    def render(self, prompt: str, system: str | None = None) -> str:
        """Return the text up to where the response begins."""
        if not self.has_template:
            lead = f"{system}\n" if system else ""
            return f"{lead}Question: {prompt}\nAnswer:"
        messages = [{"role": "user", "content": prompt}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        return str(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    @cached_property
    def turn_end(self) -> str:
        """The text that closes a response: the template's end of turn, or a newline in the plain form."""
        if not self.has_template:
            return "\n"
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK}]
        rendered = str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        tail = rendered.rpartition(_MARK)[2].rstrip("\n")
        return tail or str(self.tokenizer.eos_token or "\n")

    def encode(self, prompt: str, response: str | None = None, system: str | None = None) -> Encoded:
        """Return the tokens of a prompt, and of a response with its end of turn when one is given."""
        text = self.render(prompt, system)
        prompt_ids = self._ids(text)
        if response is None:
            return Encoded(prompt_ids)
        space = "" if self.has_template else " "
        whole = self._ids(text + space + response + self.turn_end)
        # Tokenised together, as the model will see it; the boundary falls where the two begin to differ, which
        # is one token earlier than the prompt's end when a tokenizer merges across it.
        shared = 0
        while shared < len(prompt_ids) and whole[shared] == prompt_ids[shared]:
            shared += 1
        return Encoded(whole[:shared], whole[shared:])

    def raw(self, text: str) -> Encoded:
        """Return plain text as a document would be read, its first token as the prompt: nothing predicts that one."""
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return Encoded(tuple(ids[:1]), tuple(ids[1:]))

    def _ids(self, text: str) -> tuple[int, ...]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=not self.has_template)["input_ids"]
        end = self.tokenizer.eos_token_id
        # Some tokenizers of the plain form append their own end token, which would end the prompt.
        if not self.has_template and len(ids) > 1 and ids[-1] == end:
            ids = ids[:-1]
        return tuple(ids)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a response: the tokenizer's end of text and the template's end of turn."""
        ids = {self.tokenizer.eos_token_id} - {None}
        end = self.tokenizer(self.turn_end, add_special_tokens=False)["input_ids"]
        if self.has_template and len(end) == 1:
            ids.add(end[0])
        return frozenset(ids)
