"""A model's chat template (Jinja2, as Hugging Face defines it): a conversation becomes the prompt's text.

Templates come with downloaded models and are treated as hostile code: they run in a sandbox with a budget for work,
memory and time (template_sandbox). Whatever a template does, `render` returns text or raises TemplateError within
seconds, from any thread.

What templates see is what Hugging Face gives them: `messages` (dicts with role and content), `bos_token`, `eos_token`,
`add_generation_prompt`, `tools` (or none), `documents` (none), the functions `raise_exception` and `strftime_now`, the
filter `tojson`, `{% break %}` and `{% continue %}`, blocks trimmed on both sides. Many templates know no tools, or only
half of it: what they show is found out by trying, once (`tool_support`), and the rest is said in words (tool_forms).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import jinja2
from jinja2.exceptions import SecurityError

from pocketseek.errors import TemplateError
from pocketseek.text.template_meter import LimitError, Meter
from pocketseek.text.template_sandbox import MeteredEnvironment
from pocketseek.text.tool_forms import ToolSupport, adapt, definition, form_of_template
from pocketseek.types import Message, Tool, ToolCall

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
        self.tool_form = form_of_template(source)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self._now = now
        self._lock = threading.Lock()
        self._support_lock = threading.Lock()
        self._support: ToolSupport | None = None
        self._arguments_are_text = False  # whether calls are shown by putting texts together, or by `tojson`
        self._environment = MeteredEnvironment({"raise_exception": _refuse, "strftime_now": self._strftime_now})
        try:
            self._template = self._environment.compile_metered(source)
        except _MISTAKES as error:
            raise _invalid(error) from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        add_generation_prompt: bool = True,
        **extra: object,
    ) -> str:
        """The prompt for this conversation; `extra` are variables some templates know, such as enable_thinking.

        tools: what may be called; their schemas must be valid JSON. Raises TemplateError: the template refuses the
        conversation, fails on it, or misbehaves.
        """
        if tools or any(message.tool_calls or message.role == "tool" for message in messages):
            support = self.tool_support()
            messages = adapt(messages, tools, support, self.tool_form)
            tools = tools if support.tools else ()
        return self._render(messages, tools, add_generation_prompt=add_generation_prompt, **extra)

    def tool_support(self) -> ToolSupport:
        """What the template shows of tools, found out with a made-up conversation."""
        with self._support_lock:
            self._support = self._support or self._probe()
            return self._support

    def _probe(self) -> ToolSupport:
        tool, user = Tool("probe_tool", "probe"), Message("user", "probe-question")
        call = (ToolCall("probe00id", tool.name, '{"probe_key": 1}'),)
        result = Message("tool", "probe-result", tool_call_id="probe00id", name=tool.name)
        shows_tools = self._shows([tool.name], [user], [tool])
        calls = ["probe_tool", '"probe_key": 1']
        asks = Message("assistant", "", call)
        for self._arguments_are_text in (False, True):
            shows_calls = self._shows(calls, [user, asks, result]) or self._shows(calls, [user, asks, user])
            if shows_calls:
                break
        return ToolSupport(
            tools=shows_tools,
            calls=shows_calls,
            text_beside_calls=self._shows(
                [*calls, "probe-text"], [user, Message("assistant", "probe-text", call), result]
            ),
            results=shows_calls and self._shows(["probe-result"], [user, asks, result]),
        )

    def _shows(self, wanted: Sequence[str], messages: Sequence[Message], tools: Sequence[Tool] = ()) -> bool:
        try:
            text = self._render(messages, tools)
        except TemplateError:
            return False
        return all(word in text for word in wanted)

    def _render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        *,
        add_generation_prompt: bool = True,
        **extra: object,
    ) -> str:
        variables: dict[str, object] = {"tools": None, "documents": None, **self._tokens, **extra}
        if tools:
            variables["tools"] = [definition(tool) for tool in tools]
        variables["messages"] = [self._variables_of(message) for message in messages]
        variables["add_generation_prompt"] = add_generation_prompt
        with self._lock:
            self._environment.meter = Meter(_num_characters([*messages, *tools, *extra.values()]))
            try:
                return "".join(self._pieces(variables))
            except _MISTAKES as error:
                raise _failure(error) from error

    def _variables_of(self, message: Message) -> dict[str, object]:
        variables: dict[str, object] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            variables["content"] = message.content or None  # by that DeepSeek's templates know calls
            variables["tool_calls"] = [self._call_of(call) for call in message.tool_calls]
        if message.tool_call_id:
            variables["tool_call_id"] = message.tool_call_id
        if message.name:
            variables["name"] = message.name
        return variables

    def _call_of(self, call: ToolCall) -> dict[str, object]:
        arguments: object = call.arguments
        if not self._arguments_are_text:
            try:
                arguments = json.loads(call.arguments)
            except (ValueError, RecursionError):
                arguments = call.arguments  # the model's own mistake: shown as it was
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

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
