"""Templates in the constructs that published models use, written for these tests; expected texts agree with Hugging
Face's `apply_chat_template` on the same sources."""

import threading
from datetime import datetime

import pytest

from pocketseek.errors import TemplateError
from pocketseek.text.chat_template import DEFAULT_STOP, DEFAULT_TEMPLATE, ChatTemplate
from pocketseek.types import Message

HI = [Message("user", "hi")]
TALK = [
    Message("system", "Be brief."),
    Message("user", "2+2?"),
    Message("assistant", "<think>\nsum\n</think>\n\n4"),
    Message("user", "3+3?"),
]

CHATML = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Be helpful.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

R1_DISTILL = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}\
{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}\
{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}\
{%- for message in messages %}\
{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}\
{%- if message['role'] == 'assistant' and message['content'] is not none %}\
{%- if ns.is_tool %}{{'<｜tool▁outputs▁end｜>' + message['content']}}{%- set ns.is_tool = false -%}\
{%- else %}{% set content = message['content'] %}\
{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}\
{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}\
{%- endfor -%}\
{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"""

LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN3 = """\
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not\
(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') }}
            {{- '\\n</think>\\n\\n' }}
            {{- content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

DEEPSEEK_V2 = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bos_token }}\
{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n\n' }}\
{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}\
{% elif message['role'] == 'system' %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""

DEEPSEEK_CODER = """\
{% if not add_generation_prompt is defined %}
{% set add_generation_prompt = false %}
{% endif %}
{%- set ns = namespace(found=false) -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {%- set ns.found = true -%}
    {%- endif -%}
{%- endfor -%}
{{bos_token}}{%- if not ns.found -%}
{{'You are a programmer.\\n'}}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
{{ message['content'] }}
    {%- else %}
        {%- if message['role'] == 'user' %}
{{'### Instruction:\\n' + message['content'] + '\\n'}}
        {%- else %}
{{'### Response:\\n' + message['content'] + '\\n<|EOT|>\\n'}}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{% if add_generation_prompt %}
{{'### Response:'}}
{% endif %}"""


def render(source: str, messages: list[Message], **extra: object) -> str:
    now = datetime(2025, 1, 31)
    return ChatTemplate(source, "<s>", "</s>", now=lambda: now).render(messages, **extra)


def test_chatml_adds_a_system_turn_if_there_is_none() -> None:
    assert render(CHATML, HI) == (
        "<|im_start|>system\nBe helpful.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert render(CHATML, TALK[:2], add_generation_prompt=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
    )


def test_r1_distill_drops_reasoning_from_history_and_opens_the_tag() -> None:
    assert render(R1_DISTILL, TALK) == (
        "<s>Be brief.<｜User｜>2+2?<｜Assistant｜>\n\n4<｜end▁of▁sentence｜><｜User｜>3+3?<｜Assistant｜><think>\n"
    )


def test_llama3_writes_the_date_and_trims_contents() -> None:
    assert render(LLAMA3, [Message("user", " hi \n")]) == (
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 31 Jan 2025\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert "Today Date: today" in render(LLAMA3, HI, date_string="today")


def test_qwen3_keeps_only_answers_in_history() -> None:
    assert render(QWEN3, TALK) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert render(QWEN3, TALK[:3], add_generation_prompt=False).endswith(
        "<|im_start|>assistant\n<think>\nsum\n</think>\n\n4<|im_end|>\n"
    )


def test_qwen3_can_be_told_not_to_think() -> None:
    assert render(QWEN3, HI, enable_thinking=False).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_deepseek_coder_gives_an_instruction_and_asks_for_a_response() -> None:
    assert render(DEEPSEEK_CODER, HI) == ("<s>You are a programmer.\n### Instruction:\nhi\n### Response:\n")


def test_deepseek_v2_is_a_dialogue_between_user_and_assistant() -> None:
    talk = [Message("system", "Be brief."), *HI, Message("assistant", "hello"), *HI]
    assert render(DEEPSEEK_V2, talk) == "<s>Be brief.\n\nUser: hi\n\nAssistant: hello</s>User: hi\n\nAssistant:"


def test_the_default_template_is_a_dialogue() -> None:
    assert render(DEFAULT_TEMPLATE, TALK) == (
        "<s>Be brief.\n\nUser: 2+2?\n\nAssistant: <think>\nsum\n</think>\n\n4</s>User: 3+3?\n\nAssistant:"
    )
    assert render(DEFAULT_TEMPLATE, HI, add_generation_prompt=False) == "<s>User: hi\n\n"


def test_the_default_template_works_without_an_eos_token() -> None:
    text = ChatTemplate(DEFAULT_TEMPLATE, "", "").render(TALK[1:])
    assert text == "User: 2+2?\n\nAssistant: <think>\nsum\n</think>\n\n4\n\nUser: 3+3?\n\nAssistant:"
    assert DEFAULT_STOP[0] in text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "0234"),
        ("{% for x in range(5) %}{{ x }}{% if x == 3 %}{% break %}{% endif %}{% endfor %}", "0123"),
        ("{{ {'a': '<é>', 'b': [1, none]} | tojson }}", '{"a": "<é>", "b": [1, null]}'),
        ("{{ {'b': 1} | tojson(indent=2) }}", '{\n  "b": 1\n}'),
        ("{% macro turn(m) %}[{{ m.role }}]{% endmacro %}{{ turn(messages[0]) }}", "[user]"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x ~ x }}", "a1a1"),
        ("{% generation %}a{{ 1 }}{% endgeneration %}", "a1"),
        ("{{ messages | map(attribute='content') | join(', ') }}", "hi"),
        ("{{ messages | selectattr('role', 'equalto', 'system') | list | length }}", "0"),
        ("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=hi;"),
        ("{% for m in messages | reverse %}{{ loop.index }}{{ loop.length }}{{ loop.last }}{% endfor %}", "11True"),
        ("{{ 'a,b'.split(',')[::-1] | join('') }}{{ 'x' * 3 }}{{ '%s-%03d' % ('a', 7) }}", "baxxxa-007"),
        ("{{ '{} {x}'.format('a', x='b') }}{{ 7 // 2 }}{{ 2 ** 5 }}{{ 7 % 4 }}", "a b3323"),
        ("{{ tools is none }}{{ documents is none }}{{ nothing is defined }}", "TrueTrueFalse"),
        ("{{ bos_token }}|{{ eos_token }}|{{ nothing }}", "<s>|</s>|"),
        ("{% for x in [3, 1, 2] | sort %}{{ x }}{% else %}none{% endfor %}", "123"),
        ("{% for x in nothing %}{{ x }}{% else %}none{% endfor %}", "none"),
        ("{% for i in [1, [2]] recursive %}{{ loop(i) if i is iterable else i }}{% endfor %}", "12"),
        ("a\n  {% if true %}\nb\n  {% endif %}\nc\n", "a\nb\nc"),
        ("{% set a, b = 1, 2 %}{{ a }}{{ b }}{{ (1, 2) | length }}{{ 1 < 2 <= 2 }}", "122True"),
        ("{% with x = 5 %}{{ x }}{% endwith %}{{ cycler('a').next() }}{{ dict(a=1).a }}", "5a1"),
        ("{% macro each() %}{{ caller('y') }}{% endmacro %}{% call(x) each() %}{{ x }}{% endcall %}", "y"),
    ],
)
def test_the_language_is_that_of_hugging_face(source: str, text: str) -> None:
    assert render(source, HI) == text


def test_a_refusal_is_reported_with_the_templates_words() -> None:
    with pytest.raises(TemplateError, match="refuses this conversation: roles must alternate; change"):
        render("{{ raise_exception('roles\nmust alternate') }}", HI)


@pytest.mark.parametrize("source", ["{% if %}", "{{ x", "{% endfor %}", "{{ 'x' | nosuchfilter }}", "{% unknown %}"])
def test_an_invalid_template_is_refused_with_its_line(source: str) -> None:
    with pytest.raises(TemplateError, match="line 2") as caught:
        ChatTemplate("\n" + source, "", "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source", ["{{ 1 / 0 }}", "{{ none.x.y }}", "{{ f() }}", "{{ 'a' + 1 }}", "{{ messages[5].role.x }}"]
)
def test_a_mistake_in_a_template_is_one_clear_line(source: str) -> None:
    with pytest.raises(TemplateError, match="fails on this conversation") as caught:
        render(source, HI)
    assert "\n" not in str(caught.value)


def test_rendering_leaves_the_messages_alone_and_can_be_repeated() -> None:
    template = ChatTemplate(R1_DISTILL, "<s>", "</s>")
    assert template.render(TALK) == template.render(TALK)


def test_threads_may_share_a_template() -> None:
    template = ChatTemplate(QWEN3, "", "")
    expected = {length: template.render(TALK[:length]) for length in (2, 3, 4)}
    wrong: list[int] = []

    def work(length: int) -> None:
        wrong.extend(length for _ in range(50) if template.render(TALK[:length]) != expected[length])

    threads = [threading.Thread(target=work, args=(length,)) for length in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("source", [CHATML, R1_DISTILL, LLAMA3, QWEN3, DEFAULT_TEMPLATE])
@pytest.mark.parametrize(("num_turns", "words"), [(1000, 1), (100, 1000)])
def test_a_long_conversation_is_within_the_budget(source: str, num_turns: int, words: int) -> None:
    messages = [Message(role, "word " * words) for _ in range(num_turns) for role in ("user", "assistant")]
    assert render(source, messages).count("word") == 2 * num_turns * words
