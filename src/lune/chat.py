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
    """

    tokenizer: PreTrainedTokenizerBase
    opening: str | None = None
    raw: bool = False

    @property
    def has_template(self) -> bool:
        """Whether prompts go into a chat template that the tokenizer brings."""
        return bool(self.tokenizer.chat_template) and not self.raw

    def render(self, prompt: str, system: str | None = None) -> str:
        """Return the text up to where the response begins."""
        return self.render_conversation(Conversation(prompt, system))

    def render_conversation(self, conversation: Conversation) -> str:
        """Return the text up to where the response begins, or goes on after its opening."""
        opening = conversation.opening or self.opening or ""
        if self.has_template:
            return self._templated(conversation) + opening
        lead = f"{conversation.system}\n" if conversation.system else ""
        if self.raw or self.opening is not None:
            return f"{lead}{conversation.prompt}{opening}"
        turns = "".join(f"Question: {asked}\nAnswer: {said}\n" for asked, said in conversation.history)
        space = " " if opening else ""
        return f"{lead}{turns}Question: {conversation.prompt}\nAnswer:{space}{opening}"

    def _templated(self, conversation: Conversation) -> str:
        messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
        for asked, said in conversation.history:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        messages.append({"role": "user", "content": conversation.prompt})
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
        """Tokens that end a response: the tokenizer's end of text and the template's end of turn."""
        ids = {self.tokenizer.eos_token_id} - {None}
        end = self.tokenizer(self.turn_end, add_special_tokens=False)["input_ids"]
        if self.has_template and len(end) == 1:
            ids.add(end[0])
        return frozenset(ids)
