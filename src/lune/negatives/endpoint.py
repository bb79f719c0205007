"""Alternates proposed by an OpenAI-compatible server (``--negatives-endpoint URL``).

What leaves the machine: for each fact its prompt and its true answer, in one chat message, to the server at that URL
and to nobody else. Do not name a server that must not read the facts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lune.errors import ConfigError, LuneError, ModelError, unknown_name
from lune.negatives.extract import short_answer
from lune.negatives.propose import Candidate
from lune.records import Fact

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

TIMEOUT_S = 60.0
MAX_RETRIES = 2
KEY_VARIABLE = "LUNE_ENDPOINT_KEY"
_FLAG = "--negatives-endpoint"
_NAME_IT = "name one with --negatives-endpoint-model NAME"
_OPENAI_HOST = "api.openai.com"
_REQUEST = (
    "Question: {prompt}\nRight answer: {answer}\n"
    "Write {count} different wrong answers of the same kind that a reader could take for right. "
    "Each must be as short as the right answer and must not contain it. One answer a line, nothing else."
)
# Worked examples show the form to models that follow instructions poorly; no server needs a JSON mode for it.
_EXAMPLES = (
    ("Which animal is called man's best friend?", "the dog", ("the cat", "the horse", "the parrot", "the goat")),
    ("On which day does the working week start?", "Monday", ("Wednesday", "Friday", "Tuesday", "Sunday")),
)
_BULLET = re.compile(r"^\s*(?:[-*•]\s+|\(?\d{1,2}[.):]\s+|\(?[A-Za-z]\)\s+)")
_TOKENS_PER_ANSWER = 16
_MAX_LISTED = 8
_FORBIDDEN = (401, 403)
_NOT_FOUND = 404


class Endpoint:
    """A server that proposes alternates.

    Args:
        url: Base URL, such as ``http://localhost:8000/v1``; ``/v1`` is added when the URL has no path.
        model: Model name at the server; its first model when None.
        timeout: Seconds to wait for one answer.
        retries: Repetitions of a request that failed on the way or was turned down as too many.

    Raises:
        ConfigError: When the URL is no URL, the ``openai`` package is missing, the server refuses the key, or it
            has no such model.
        ModelError: When the server cannot be reached or fails.
    """

    def __init__(
        self, url: str, model: str | None = None, *, timeout: float = TIMEOUT_S, retries: int = MAX_RETRIES
    ) -> None:
        self.url = _base_url(url)
        self._listed: list[str] = []
        self._client = _client(self.url, timeout, retries)
        self._listed = self._models(needed=model is None)
        self.model = model or self._listed[0]

    def propose(self, facts: Sequence[Fact], *, count: int) -> Iterator[Candidate]:
        """Yield up to ``count`` alternates for each fact; one request a fact.

        Raises:
            ConfigError: When the server refuses the key or the model.
            ModelError: When it fails or does not answer in time.
        """
        for fact in facts:
            for line in self._ask(fact, count).splitlines():
                answer = short_answer(fact.prompt, _BULLET.sub("", line))
                if answer and not line.rstrip().endswith(":"):
                    yield Candidate(fact.id, answer, "endpoint")

    def _ask(self, fact: Fact, count: int) -> str:
        from openai import OpenAIError

        try:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=_messages(fact, count),
                max_tokens=_TOKENS_PER_ANSWER * count,
                temperature=0.8,
            )
        except OpenAIError as error:
            raise self._refused(error) from error
        except ValueError as error:  # an answer that is no JSON
            raise self._not_compatible(str(error)) from error
        # The client does not check what servers send, so an absent field can be None here.
        if not reply.choices or reply.choices[0].message is None:
            raise self._not_compatible("a chat completion without choices")
        return reply.choices[0].message.content or ""

    def _models(self, *, needed: bool) -> list[str]:
        """Return the server's model names; servers without a list are fine when the user names the model."""
        from openai import APIConnectionError, OpenAIError

        try:
            names = [str(model.id) for model in self._client.models.list().data or ()]
        except OpenAIError as error:
            status = _status(error)
            if isinstance(error, APIConnectionError) or status in _FORBIDDEN:
                raise self._refused(error) from error
            if needed:
                raise ConfigError(
                    f"The endpoint {self.url} does not list its models (HTTP {status}).", hint=_NAME_IT
                ) from error
            return []
        except (ValueError, AttributeError) as error:
            raise self._not_compatible(str(error)) from error
        if needed and not names:
            raise ConfigError(f"The endpoint {self.url} lists no model.", hint=_NAME_IT)
        return names

    def _refused(self, error: Exception) -> LuneError:
        """Return the error a user should read for what the client raised."""
        status = _status(error)
        if status in _FORBIDDEN:
            return ConfigError(
                f"The endpoint {self.url} refuses the key (HTTP {status}).", hint=f"export {KEY_VARIABLE}=YOUR-KEY"
            )
        if status == _NOT_FOUND and self._listed and self.model not in self._listed:
            # Only now: some servers run models that they do not list.
            return ConfigError(
                unknown_name("model at the endpoint", self.model, self._listed[:_MAX_LISTED]), hint=_NAME_IT
            )
        if status == _NOT_FOUND:
            return ConfigError(
                f"The endpoint {self.url} has no such page or model (HTTP 404): {_first_line(error)}",
                hint=f"give its base URL, such as http://localhost:8000/v1, and a model it has; {_check(self.url)}",
            )
        if status is not None:
            return ModelError(
                f"The endpoint {self.url} failed (HTTP {status}): {_first_line(error)}", hint=_leave_out()
            )
        return ModelError(f"The endpoint {self.url} cannot be reached: {_first_line(error)}", hint=_check(self.url))

    def _not_compatible(self, what: str) -> ModelError:
        came = what.strip().splitlines()[0] if what.strip() else "nothing"
        return ModelError(
            f"The endpoint {self.url} does not speak the OpenAI chat API; it sent: {came}", hint=_check(self.url)
        )


def _messages(fact: Fact, count: int) -> list[ChatCompletionMessageParam]:
    """Return the worked examples and the request for one fact: its prompt, its answer and nothing else of it."""
    messages: list[ChatCompletionMessageParam] = []
    for prompt, answer, wrong in _EXAMPLES:
        messages.append({"role": "user", "content": _REQUEST.format(prompt=prompt, answer=answer, count=len(wrong))})
        messages.append({"role": "assistant", "content": "\n".join(wrong)})
    request = _REQUEST.format(prompt=fact.prompt, answer=fact.answer, count=count)
    return [*messages, {"role": "user", "content": request}]


def _base_url(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(
            f"{_FLAG} '{url}' is not a URL; it must start with http:// or https://.",
            hint=f"{_FLAG} http://localhost:8000/v1",
        )
    return url.strip().rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def _client(url: str, timeout: float, retries: int) -> OpenAI:
    try:
        from openai import OpenAI
    except ImportError as error:
        raise ConfigError(
            f"{_FLAG} needs the 'openai' package, which is not installed.",
            hint="pip install 'lune-unlearn[endpoint]'",
        ) from error
    key = os.environ.get(KEY_VARIABLE)
    if not key and urlsplit(url).hostname == _OPENAI_HOST:
        # Only there: another server has no business with that key.
        key = os.environ.get("OPENAI_API_KEY")
    return OpenAI(base_url=url, api_key=key or "none", timeout=timeout, max_retries=retries)


def _status(error: Exception) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _check(url: str) -> str:
    return f"curl {url}/models"


def _leave_out() -> str:
    return f"run again, or without {_FLAG}"
