"""A model's chat template (Jinja2, as Hugging Face defines it): a conversation becomes the prompt's text.

Templates come with downloaded models and are treated as hostile code: they run in a sandbox with a budget for work,
memory and time (template_sandbox). Whatever a template does, `render` returns text or raises TemplateError within
seconds, from any thread.

What templates see is what Hugging Face gives them: `messages` (dicts with role and content), `bos_token`, `eos_token`,
`add_generation_prompt`, `tools` and `documents` (none), the functions `raise_exception` and `strftime_now`, the filter
`tojson`, `{% break %}` and `{% continue %}`, blocks trimmed on both sides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import jinja2
from jinja2.exceptions import SecurityError

from pocketseek.errors import TemplateError
from pocketseek.text.template_meter import LimitError, Meter
from pocketseek.text.template_sandbox import MeteredEnvironment
from pocketseek.types import Message

# For models that carry none; deepseek-llm's form of dialogue, which base models continue sensibly, too.
DEFAULT_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}
{%- elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + (eos_token or '\\n\\n') }}
{%- else %}{{ message['content'] + '\\n\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}
"""
# Where an answer under DEFAULT_TEMPLATE ends if the model goes on to play the user.
DEFAULT_STOP = ("\n\nUser:",)

_MAX_REASON_CHARACTERS = 200

# What operations on values of the wrong kind raise; Python's compiler adds SyntaxError for sources nested too deeply.
_MISTAKES = (
    jinja2.TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


class _RefusedError(jinja2.TemplateError):
    """The template called raise_exception."""


class ChatTemplate:
    """One template, compiled once. Threads may share it; their renderings take turns."""

    def __init__(
        self, source: str, bos_token: str, eos_token: str, *, now: Callable[[], datetime] = datetime.now
    ) -> None:
        """Raises TemplateError if the source is not a valid template."""
        self.source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self._now = now
        self._lock = threading.Lock()
        self._environment = MeteredEnvironment({"raise_exception": _refuse, "strftime_now": self._strftime_now})
        try:
            self._template = self._environment.compile_metered(source)
        except _MISTAKES as error:
            raise _invalid(error) from error

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True, **extra: object) -> str:
        """The prompt for this conversation; `extra` are variables some templates know, such as enable_thinking.

        Raises TemplateError: the template refuses the conversation, fails on it, or misbehaves.
        """
        variables: dict[str, object] = {"tools": None, "documents": None, **self._tokens, **extra}
        variables["messages"] = [{"role": message.role, "content": message.content} for message in messages]
        variables["add_generation_prompt"] = add_generation_prompt
        with self._lock:
            self._environment.meter = Meter(_num_characters([*messages, *extra.values()]))
            try:
                return "".join(self._pieces(variables))
            except _MISTAKES as error:
                raise _failure(error) from error

    def _pieces(self, variables: dict[str, object]) -> Iterable[str]:
        context = self._template.new_context(variables)
        return self._template.root_render_func(context)

    def _strftime_now(self, pattern: str) -> str:
        self._environment.meter.formatted(pattern, "")
        return self._now().strftime(pattern)


def _refuse(message: object) -> None:
    raise _RefusedError(str(message))


def _num_characters(values: Iterable[object]) -> int:
    return sum(len(str(value)) for value in values)


def _invalid(error: BaseException) -> TemplateError:
    line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return TemplateError(
        f"the model's chat template is not valid ({line}{_reason(error)}); get the model from its publisher again"
    )


def _failure(error: BaseException) -> TemplateError:
    reason = _reason(error)
    if isinstance(error, _RefusedError):
        return TemplateError(f"the model's chat template refuses this conversation: {reason}; change the messages")
    if isinstance(error, LimitError):
        return TemplateError(f"the model's chat template was stopped: {reason}; use a model with a sound template")
    if isinstance(error, SecurityError):
        return TemplateError(f"the model's chat template is not safe: {reason}; use a model with a sound template")
    return TemplateError(
        f"the model's chat template fails on this conversation ({reason}); change the messages or use another model"
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError | SyntaxError):  # Python's, from compiling or from calls without end
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    return " ".join(str(error).split())[:_MAX_REASON_CHARACTERS] or type(error).__name__
