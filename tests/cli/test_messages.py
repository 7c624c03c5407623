"""Both languages say the same with the same values."""

import re
import string
from collections.abc import Callable

import pytest

from pocketseek.cli import messages
from pocketseek.cli.adapt import adapt_messages, federate_messages, train_messages
from pocketseek.cli.bench import report_messages, routing_messages
from pocketseek.cli.device import device_messages, doctor_messages, sensors_messages, verdict_messages
from pocketseek.cli.doc import doc_messages, library_messages
from pocketseek.cli.guard import seal_messages, trust_messages
from pocketseek.cli.messages import Message, Words
from pocketseek.cli.models import convert_messages, export_messages, pull_messages, quality_messages, update_messages
from pocketseek.cli.run import heat_messages, onnx_messages
from pocketseek.cli.serve import token_messages
from pocketseek.cli.start import start_messages
from pocketseek.cli.voice import bench_messages, voice_messages

ALL = (
    {
        f"{module.__name__}.{name}": value
        for module in (
            messages,
            federate_messages,
            adapt_messages,
            train_messages,
            convert_messages,
            device_messages,
            library_messages,
            doc_messages,
            doctor_messages,
            export_messages,
            heat_messages,
            onnx_messages,
            pull_messages,
            quality_messages,
            report_messages,
            routing_messages,
            seal_messages,
            sensors_messages,
            start_messages,
            token_messages,
            trust_messages,
            update_messages,
            verdict_messages,
            bench_messages,
            voice_messages,
        )
        for name, value in vars(module).items()
        if isinstance(value, Message)
    }
    | {
        f"{group}.{name}": value
        for group in ("PERMISSIONS", "KINDS", "REASONS")
        for name, value in getattr(device_messages, group).items()
    }
    | {f"AUDIT_PROBLEMS.{name}": value for name, value in trust_messages.AUDIT_PROBLEMS.items()}
    | {f"federate {name}": value for name, value in federate_messages.OUTCOMES.items()}
    | {f"distill {name}": value for name, value in train_messages.DISTILLING.items()}
    | {f"doc REASONS.{name}": value for name, value in doc_messages.REASONS.items()}
    | {
        f"{group}.{name}": value
        for group in ("FIGURES", "CARDS", "GAPS", "PHASES", "DIFFERENCES", "BOTH", "POWER_SOURCES")
        for name, value in getattr(report_messages, group).items()
    }
    | {
        f"{group}.{name}": value
        for group in ("WHY", "WHY_NONE", "FITS")
        for name, value in getattr(verdict_messages, group).items()
    }
    | {
        f"voice {group}.{name}": value
        for group in ("KINDS", "REASONS")
        for name, value in getattr(voice_messages, group).items()
    }
    | {
        f"voice bench {group}.{name}": value
        for group in ("KINDS", "STAGES", "LANES")
        for name, value in getattr(bench_messages, group).items()
    }
    | {f"voice SETUP_TITLES.{number}": title for number, title in enumerate(voice_messages.SETUP_TITLES)}
    | {
        f"{group}.{name}": value
        for group in ("PROBLEMS", "PROVIDER_REASONS")
        for name, value in getattr(onnx_messages, group).items()
    }
)


def values_of(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("name", sorted(ALL))
def test_both_versions_use_the_same_values(name: str) -> None:
    assert values_of(ALL[name].en) == values_of(ALL[name].zh)
    assert ALL[name].en
    assert ALL[name].zh


@pytest.mark.parametrize("name", sorted(ALL))
def test_chinese_sentences_have_chinese_punctuation(name: str) -> None:
    assert not re.search("[\u4e00-\u9fff][,;:?!()]|[,;?!()][\u4e00-\u9fff]", ALL[name].zh)


def test_language_is_chosen_and_values_filled_in() -> None:
    message = Message("{n} models", "{n} 个模型")
    assert Words("en")(message, n=2) == "2 models"
    assert Words("zh")(message, n=2) == "2 个模型"


def test_what_depends_on_a_number_follows_it() -> None:
    message = Message("{n} {n:model is|models are} here: {size:.1f} MB", "{n} 个模型：{size:.1f} MB")
    assert [Words("en")(message, n=n, size=2) for n in (0, 1, 2)] == [
        "0 models are here: 2.0 MB",
        "1 model is here: 2.0 MB",
        "2 models are here: 2.0 MB",
    ]


def test_chinese_environment_gives_chinese_messages(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POCKETSEEK_LANG")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert "已安装的模型" in run().out
