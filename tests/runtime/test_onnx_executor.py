"""Exports of packages give what the native kernels give, and errors are clear. tests/runtime/onnx has other models."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from failing_provider import FailingLibrary

import pocketseek
from pocketseek.apps.compare_models import Comparison, compare_models
from pocketseek.convert.export_package import export_package
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.errors import FormatError, MemoryLimitError, UnsupportedError, UsageError
from pocketseek.runtime.heat import HeatWatch, watch_heat
from pocketseek.runtime.onnx.model_files import read_model
from pocketseek.runtime.onnx_executor import OnnxExecutor, library_version
from pocketseek.runtime.window_logits import WindowLogits
from pocketseek.runtime.work import Slice, Work
from pocketseek.types import SamplingParams

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
PEERS = Path(__file__).parent / "onnx" / "data"
ON_CPU = ExecutionProvider("CPU", "no npu")
MAX_KL, MIN_TOP1 = 5e-3, 0.97


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


Package = Callable[[str], Path]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Packages of golden checkpoints in four bits, each made once."""
    folder = tmp_path_factory.mktemp("packages")

    def made(case: str) -> Path:
        if not (folder / case).exists():
            convert_checkpoint(GOLDEN / case, folder / case, quant="q4", models_dir=folder)
        return folder / case

    return made


def compared(model: Path, reference: Path, token_ids: list[int]) -> Comparison:
    ours, native = WindowLogits(model, window=128), WindowLogits(reference, window=128)
    try:
        return compare_models(ours, native, token_ids, window=128)
    finally:
        ours.close()
        native.close()


@pytest.mark.parametrize("case", ["llama-llama3", "qwen2", "qwen3-yarn"])
@pytest.mark.parametrize("format", ["onnx", "ort"])
def test_an_int4_export_says_what_the_native_core_says(
    case: str, format: Any, package: Package, tmp_path: Path
) -> None:
    export_package(package(case), tmp_path / "export", quant="int4", format=format)
    ids = np.random.default_rng(1).integers(0, 256, 1024).tolist()
    found = compared(tmp_path / "export", package(case), ids)
    assert found.mean_kl <= MAX_KL
    assert found.top1_agreement >= MIN_TOP1


def test_an_installed_model_runs_by_name_once_it_was_exported(package: Package, home: Path) -> None:
    from pocketseek.apps.onnx_models import ensure_export
    from pocketseek.settings import read_settings

    shutil.copytree(package("llama"), home / "models" / "mine")
    with pytest.raises(UnsupportedError, match="pocketseek export mine DIR --format onnx --quant int4"):
        pocketseek.load("mine", engine="onnx")
    export = ensure_export(home / "models" / "mine", read_settings())
    assert ensure_export(home / "models" / "mine", read_settings()) == export
    with pocketseek.load("mine", engine="onnx") as engine:
        assert engine.provider_choice is not None
        assert engine.provider_choice.name == "CPU"
        with pytest.raises(UnsupportedError, match="no embeddings"):
            engine.embed("text")
        assert len(engine.score(engine.encode_prompt("some text"))) > 3


def test_an_export_of_a_model_that_is_gone_is_removed_with_the_next_one(package: Package, home: Path) -> None:
    from pocketseek.apps.onnx_models import ensure_export
    from pocketseek.settings import read_settings

    exports = []
    for case in ("llama", "qwen2"):
        shutil.rmtree(home / "models", ignore_errors=True)
        shutil.copytree(package(case), home / "models" / "mine")
        exports.append(ensure_export(home / "models" / "mine", read_settings()))
    assert [export.exists() for export in exports] == [False, True]


def test_what_was_made_of_a_model_goes_with_it_finished_or_not(package: Package, home: Path) -> None:
    from pocketseek.apps.onnx_models import ensure_export, sweep_cache
    from pocketseek.package.paths import partial_path
    from pocketseek.settings import read_settings

    shutil.copytree(package("llama"), home / "models" / "mine")
    export = ensure_export(home / "models" / "mine", read_settings())
    with pocketseek.load("mine", engine="onnx"):
        pass
    partial = partial_path(export.with_name("killed"))
    partial.mkdir()
    (partial / "model.onnx").write_bytes(b"half")
    sweep_cache(read_settings())
    assert [path.name for path in export.parent.iterdir() if path.is_dir()] == [export.name]
    assert len(list((home / "cache" / "onnx").iterdir())) == 1
    shutil.rmtree(home / "models")
    assert sweep_cache(read_settings()) > 0
    assert not [path for path in export.parent.iterdir() if path.is_dir()]
    assert not list((home / "cache" / "onnx").iterdir())


def test_a_damaged_prepared_copy_is_thrown_away(package: Package, home: Path, tmp_path: Path) -> None:
    export_package(package("llama"), tmp_path / "export", quant="int4")
    copies = home / "cache" / "onnx"
    for is_there in (True, False, True):
        with pocketseek.load(tmp_path / "export"):
            assert (list(copies.iterdir()) != []) == is_there
        for path in copies.glob("*/stage-000.onnx"):
            path.write_bytes(b"damaged")


def test_texts_do_not_depend_on_who_else_runs(package: Package, tmp_path: Path) -> None:
    export_package(package("qwen2"), tmp_path / "export", quant="int4")
    greedy = SamplingParams(temperature=0.0)
    with pocketseek.load(tmp_path / "export", prefix_store_bytes=0) as engine:
        prompts = [f"{number} is a number" * 8 for number in range(6)]
        streams = [engine.stream_text(prompt, max_tokens=20, sampling=greedy) for prompt in prompts]
        together = ["".join(event.text for event in stream) for stream in streams]
        assert together == [engine.generate(prompt, max_tokens=20, sampling=greedy).text for prompt in prompts]


def opened(folder: Path, **options: Any) -> OnnxExecutor:
    return OnnxExecutor(read_model(folder), num_threads=1, device=ON_CPU, **options)


def test_weights_stay_in_memory_or_it_is_told() -> None:
    executor = opened(PEERS / "genai-llama-int4")
    executor.set_weight_bytes(None)
    executor.set_weight_bytes(executor.weight_bytes)
    with pytest.raises(MemoryLimitError, match="--engine native"):
        executor.set_weight_bytes(executor.weight_bytes - 1)


def test_hidden_states_are_refused() -> None:
    executor = opened(PEERS / "genai-llama-int4")
    executor.reserve_pages(1)
    with pytest.raises(UnsupportedError, match="embeddings"):
        executor.run(Work((Slice(0, (1, 2), 0, (0,), 0, wants_states=True),)))


def test_it_computes_on_chosen_cores_and_refuses_those_that_are_not() -> None:
    executor = opened(PEERS / "genai-llama-int4")
    before = executor.cores
    executor.set_cores((min(before),))
    assert executor.cores == {min(before)}
    with pytest.raises(UsageError, match="cores"):
        executor.set_cores((4095,))
    executor.set_cores(())
    assert executor.cores == before


def test_who_watches_the_heat_knows_that_threads_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []

    def watch(*rest: Any, changes_threads: bool, **options: Any) -> HeatWatch:
        told.append(changes_threads)
        return watch_heat(*rest, changes_threads=changes_threads, **options)

    monkeypatch.setattr("pocketseek.runtime.start.watch_heat", watch)
    pocketseek.load(PEERS / "genai-llama-int4", engine="onnx").close()
    assert told == [False]


def test_files_that_are_no_models_are_told_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PEERS / "genai-llama-int4", folder)
    whole = (folder / "model.onnx").read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(FormatError, match=r"model\.onnx cannot be opened") as error:
            opened(folder)
        assert "\n" not in str(error.value)
    (folder / "model.onnx").write_bytes(whole)
    (folder / "model.onnx.data").write_bytes(b"short")
    with pytest.raises(FormatError, match="cannot be opened"):
        opened(folder)


def test_a_model_without_past_is_refused(tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "model"
    shutil.copytree(PEERS / "optimum-qwen2", folder)
    model = onnx.load(folder / "model.onnx")
    model.graph.input.append(onnx.helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1]))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(UnsupportedError, match="an input 'use_cache_branch' that is not known"):
        opened(folder)


def test_a_provider_that_is_not_here_is_told() -> None:
    with pytest.raises(UnsupportedError, match="built without QNN"):
        opened(PEERS / "genai-llama-int4", provider="QNN")


@pytest.mark.parametrize(
    ("starts", "computes", "name", "problem"),
    [
        (False, False, "CPU", "QNN could not be started"),
        (True, False, "CPU", "QNN has none of the operators of this model"),
        (True, True, "QNN", ""),
    ],
)
def test_a_provider_that_does_not_start_or_has_no_operator_is_left_for_the_cpu(
    starts: bool, computes: bool, name: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FailingLibrary(starts=starts, computes=computes)
    monkeypatch.setattr("pocketseek.runtime.onnx_executor._library", lambda: library)
    phone = ExecutionProvider("QNN", "npu by qnn")
    executor = OnnxExecutor(read_model(PEERS / "genai-llama-int4"), num_threads=1, device=phone)
    assert executor.provider.name == name
    assert [problem in failure.problem for failure in executor.provider.failures] == [True] * (name == "CPU")


def with_qnn(
    monkeypatch: pytest.MonkeyPatch, passes: int, provider: str | None = None, model: str = "genai-llama-int4"
) -> OnnxExecutor:
    """On a phone whose QNN does so many passes."""
    library = FailingLibrary(starts=True, computes=True, passes=passes)
    monkeypatch.setattr("pocketseek.runtime.onnx_executor._library", lambda: library)
    phone = ExecutionProvider("QNN", "npu by qnn")
    return OnnxExecutor(read_model(PEERS / model), num_threads=1, device=phone, provider=provider)


def test_a_provider_that_fails_in_its_first_pass_is_left_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = with_qnn(monkeypatch, passes=0)
    assert executor.provider.name == "CPU"
    (failure,) = executor.provider.failures
    assert (failure.name, failure.kind) == ("QNN", "first pass")
    assert failure.problem == f"QNN failed in its first pass: {failure.detail}"
    assert failure.detail == "QNN graph execute error. Error code: 6031"
    with pytest.raises(UnsupportedError, match=r"QNN failed in its first pass: .*; use --provider CPU$"):
        with_qnn(monkeypatch, passes=0, provider="qnn")


def test_a_provider_that_was_asked_for_and_fails_later_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = with_qnn(
        monkeypatch, passes=3, provider="qnn"
    )  # one to try it; two for two rows, of which one is wanted
    executor.reserve_pages(1)
    executor.run(Work((Slice(0, (1, 2), 0, (0,), 1),)))
    with pytest.raises(UnsupportedError, match=r"^QNN failed while it computed: .*; use --provider CPU$"):
        executor.run(Work((Slice(0, (3,), 2, (0,), 1),)))


IDS = (5, 9, 3, 7, 1, 8, 2, 6, 4, 5)


def answered(executor: OnnxExecutor) -> list[Any]:
    """Logits on the way through a text, some rows at a time."""
    executor.reserve_pages(1)
    slices = [Slice(0, IDS[first:stop], first, (0,), 1) for first, stop in ((0, 4), (4, 5), (5, 9), (9, 10))]
    return [executor.run(Work((part,))).copy() for part in slices]


@pytest.mark.parametrize("model", ["genai-llama-int4", "optimum-qwen2"])
@pytest.mark.parametrize("passes", [1, 2, 3, 5])
def test_when_a_provider_fails_later_the_cpu_goes_on_with_what_was_computed(
    model: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = OnnxExecutor(read_model(PEERS / model), num_threads=1, device=ON_CPU)
    executor = with_qnn(monkeypatch, passes=passes, model=model)
    assert executor.provider.name == "QNN"
    np.testing.assert_array_equal(answered(executor), answered(undisturbed))
    assert (executor.provider.name, executor.provider.reason) == ("CPU", "last resort")
    (failure,) = executor.provider.failures
    assert (failure.name, failure.kind) == ("QNN", "later pass")
    executor.close()
    undisturbed.close()


def test_if_the_cpu_cannot_be_opened_then_it_is_tried_again_in_the_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = opened(PEERS / "genai-llama-int4")
    executor = with_qnn(monkeypatch, passes=1)
    executor.reserve_pages(1)
    work = Work((Slice(0, IDS, 0, (0,), 1),))
    with monkeypatch.context() as patch:
        patch.setattr(executor, "_opened", no_memory)
        with pytest.raises(MemoryLimitError):
            executor.run(work)
    undisturbed.reserve_pages(1)
    np.testing.assert_array_equal(executor.run(work), undisturbed.run(work))
    assert executor.provider.name == "CPU"


def no_memory(_: str) -> Any:
    raise MemoryLimitError("no memory; close something")


def test_an_answer_goes_on_when_its_provider_fails_and_says_who_computed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocketseek.runtime.onnx.providers import ProviderChoice

    greedy = SamplingParams(temperature=0.0)
    with pocketseek.load(PEERS / "genai-llama-int4", prefix_store_bytes=0) as engine:
        expected = engine.generate("some text", max_tokens=12, sampling=greedy).text
    for file in (home / "costs").glob("*"):
        file.unlink()
    library = FailingLibrary(starts=True, computes=True, passes=6)
    monkeypatch.setattr("pocketseek.runtime.onnx_executor._library", lambda: library)
    order = [ProviderChoice("QNN", "npu by qnn"), ProviderChoice("CPU", "last resort")]
    monkeypatch.setattr("pocketseek.runtime.onnx_executor.order_of", lambda *_, **__: order)
    with pocketseek.load(PEERS / "genai-llama-int4", prefix_store_bytes=0) as engine:
        assert engine.provider_choice == order[0]
        assert engine.generate("some text", max_tokens=12, sampling=greedy).text == expected
        assert engine.provider_choice is not None
        assert engine.provider_choice.name == "CPU"
    assert not list((home / "costs").glob("*"))  # times of the CPU are none of QNN's


@pytest.mark.parametrize(("prefix", "remedy"), [("/usr", "pocketseek"), ("/data/data/com.termux/usr", "pkg install")])
def test_without_onnx_runtime_it_is_told_what_to_install(
    prefix: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("sys.prefix", prefix)
    with pytest.raises(UnsupportedError, match=remedy):
        opened(PEERS / "genai-llama-int4")
    assert library_version() is None
