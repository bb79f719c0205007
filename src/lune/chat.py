"""How a prompt becomes tokens: the chat template where there is one, a plain question/answer form where not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jinja2 import TemplateError
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
class Conversation:
    """What stands before an answer when that is more than one prompt.

    Attributes:
        prompt: The user's last message.
        system: The system message, None for the template's own.
        history: Earlier turns, (user, assistant), oldest first.
        opening: The first words of the assistant's answer, put into its mouth.
    """

    prompt: str
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    opening: str = ""


@dataclass(frozen=True)
class ChatFormat:
    """Renders what a user types, and an assistant's response, for one tokenizer.

    Attributes:
        tokenizer: Of the model that is asked.
        opening: Literal text with which the response begins, as published protocols prescribe it. What is scored after
            it follows a space and gets no end of turn; without a chat template nothing else is put around the prompt.
        raw: Put nothing around the prompt, and no end of turn or space after it: text as it stands.
        end_ids: Further tokens that end a response, as the model's generation configuration names them.
    """

    tokenizer: PreTrainedTokenizerBase
    opening: str | None = None
    raw: bool = False
    end_ids: frozenset[int] = frozenset()

    @property
    def has_template(self) -> bool:
        """Whether prompts go into a chat template that the tokenizer brings."""
        return bool(self.tokenizer.chat_template) and not self.raw

    def render(self, prompt: str, system: str | None = None) -> str:
        """Return the text up to where the response begins.

        A template without a system role gets the system text before the user's.
        """
        return self.render_conversation(Conversation(prompt, system))

    def render_conversation(self, conversation: Conversation) -> str:
        """Return the text up to where the response begins, or goes on after its opening."""
        opening = conversation.opening or self.opening or ""
        if self.has_template:
            return self._turns(conversation) + opening
        lead = f"{conversation.system}\n" if conversation.system else ""
        if self.raw or self.opening is not None:
            return f"{lead}{conversation.prompt}{opening}"
        turns = "".join(f"Question: {asked}\nAnswer: {said}\n" for asked, said in conversation.history)
        space = " " if opening else ""
        return f"{lead}{turns}Question: {conversation.prompt}\nAnswer:{space}{opening}"

    def _turns(self, conversation: Conversation) -> str:
        messages: list[dict[str, str]] = []
        for asked, said in conversation.history:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        messages.append({"role": "user", "content": conversation.prompt})
        system = conversation.system
        if not system:
            return self._templated(messages)
        try:
            rendered = self._templated([{"role": "system", "content": system}, *messages])
        except TemplateError:  # how templates refuse a role
            rendered = ""
        if system.strip() in rendered:
            return rendered
        return self._templated([{"role": "user", "content": f"{system}\n\n{messages[0]['content']}"}, *messages[1:]])

    def _templated(self, messages: list[dict[str, str]], *, answering: bool = True) -> str:
        """Return the messages in the template, thinking switched off where the template has a switch for it."""
        rendered = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=answering, tokenize=False, enable_thinking=False
        )
        return str(rendered)

    @cached_property
    def turn_end(self) -> str:
        r"""The text that closes a response: the template's end of turn, or a newline in the plain form.

        A template may close the whole text after the turn, as Phi-3's with ``<|end|>\\n<|endoftext|>``: a response
        ends with the first of these tokens.
        """
        if not self.has_template:
            return "\n"
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK}]
        tail = self._templated(messages, answering=False).rpartition(_MARK)[2].rstrip("\n")
        first = self._first_own_token(tail)
        return tail[: tail.index(first) + len(first)] if first else tail or str(self.tokenizer.eos_token or "\n")

    def _first_own_token(self, text: str) -> str | None:
        """Return the token outside the ordinary vocabulary, such as ``<|im_end|>``, that comes first in ``text``."""
        own = [token for token in self.tokenizer.get_added_vocab() if token.strip() and token in text]
        return min(own, key=lambda token: (text.index(token), -len(token)), default=None)

    def encode(self, prompt: str, response: str | None = None, system: str | None = None) -> Encoded:
        """Return the tokens of a prompt, and of a response with its end of turn when one is given.

        Raw text without a prompt or a beginning-of-text token gives its own first token as the prompt, for nothing
        predicts it.
        """
        text = self.render(prompt, system)
        prompt_ids = self._ids(text)
        if response is None:
            return Encoded(prompt_ids)
        space, end = self._joint()
        whole = self._ids(text + space + response + end)
        # Tokenised together, as the model will see it; the boundary falls where the two begin to differ, which
        # is one token earlier than the prompt's end when a tokenizer merges across it.
        shared = 0
        while shared < len(prompt_ids) and whole[shared] == prompt_ids[shared]:
            shared += 1
        shared = max(shared, 1)
        return Encoded(whole[:shared], whole[shared:])

    def _joint(self) -> tuple[str, str]:
        """Return what stands between prompt and response, and what closes the response."""
        if self.raw or self.opening is not None:
            return " " if self.opening and not self.opening[-1].isspace() else "", ""
        return "" if self.has_template else " ", self.turn_end

    def encode_conversation(self, conversation: Conversation) -> Encoded:
        """Return the tokens of all that stands before the answer."""
        return Encoded(self._ids(self.render_conversation(conversation)))

    def _ids(self, text: str) -> tuple[int, ...]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=not self.has_template)["input_ids"]
        end = self.tokenizer.eos_token_id
        # Some tokenizers of the plain form append their own end token, which would end the prompt.
        if not self.has_template and len(ids) > 1 and ids[-1] == end:
            ids = ids[:-1]
        return tuple(ids)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a response: end of text, the template's end of turn, what the model's configuration names."""
        ids = {self.tokenizer.eos_token_id, *self.end_ids} - {None}
        if self.has_template:
            token = self._first_own_token(self.turn_end) or self.turn_end
            end = self.tokenizer(token, add_special_tokens=False)["input_ids"]
            ids |= set(end) if len(end) == 1 else set()
        return frozenset(ids)
