"""What an ONNX model in a folder is: whose it is, its files, its shape, and what its inputs and outputs are called.

    pocketseek   model.json                            `pocketseek export`, one file or a series of stages
    genai        genai_config.json                     onnxruntime-genai's model builder
    optimum      config.json and one .onnx file        Hugging Face optimum, task text-generation-with-past

MODEL is the folder, or the .onnx file itself where a folder has several. Nothing in it is executed here; what the files
really contain is checked against this when they are opened (onnx_executor.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Literal

from pocketseek.errors import FormatError, NotFoundError, UnsupportedError
from pocketseek.runtime.onnx.export_description import OWN_FILE, FixedShapes, read_description
from pocketseek.runtime.onnx.foreign_json import ForeignObject, read_object
from pocketseek.types import ModelConfig

Maker = Literal["pocketseek", "genai", "optimum"]
ModelForm = Literal["blocks", "static", "static fixed", "unknown"]
"""Weights alone in blocks; activations too, with open or fixed shapes; another tool's."""

GENAI_FILE, CONFIG_FILE = "genai_config.json", "config.json"
_MODEL_SUFFIXES = (".onnx", ".ort")
_USUAL_FILES = ("model.onnx", "decoder_model_merged.onnx", "onnx/model.onnx")
_GUESSED_INTERMEDIATE = 3  # times the hidden size, where nobody says; only the workspace is estimated from it


@dataclass(frozen=True)
class TensorNames:
    """past_key and its like have {layer} where the number of the layer stands."""

    token_ids: str = "input_ids"
    attention_mask: str = "attention_mask"
    position_ids: str = "position_ids"
    past_key: str = "past_key_values.{layer}.key"
    past_value: str = "past_key_values.{layer}.value"
    present_key: str = "present.{layer}.key"
    present_value: str = "present.{layer}.value"
    logits: str = "logits"
    logit_rows: str = "logit_rows"


@dataclass(frozen=True)
class StageFile:
    """A file that computes some of the steps. layers: the first and the one after the last, equal if it has none."""

    path: Path
    layers: tuple[int, int]


@dataclass(frozen=True)
class OnnxModel:
    """stages: in the order of a pass. shares_buffer: the model writes K and V into the buffer that holds the past
    (GroupQueryAttention); otherwise it returns past and new ones together in another. sha256: of files, where known.
    is_static: activations are quantised, too. fixed: shapes that every pass has; K and V of the new tokens alone come
    back then. least_runtime: the oldest ONNX Runtime that runs it, where known.
    """

    name: str
    folder: Path
    maker: Maker
    config: ModelConfig
    stages: tuple[StageFile, ...]
    names: TensorNames
    shares_buffer: bool
    sha256: Mapping[Path, str] = field(default_factory=dict)
    is_static: bool = False
    fixed: FixedShapes | None = None
    least_runtime: str | None = None

    @property
    def weight_files(self) -> list[Path]:
        """The files of the stages, and those beside them with their weights, which all makers name after them:
        model.onnx.data, model.onnx_data, model.onnx.data-000."""
        stages = [stage.path for stage in self.stages]
        return [path for stage in stages for path in sorted(stage.parent.glob(f"{escape(stage.name)}*"))]

    def is_lookup(self, number: int) -> bool:
        """Whether that stage only looks tokens up, which is for the CPU whatever computes the rest."""
        return number == 0 and len(self.stages) > 1 and self.stages[0].layers[0] == self.stages[0].layers[1]

    @property
    def form(self) -> ModelForm:
        if self.maker != "pocketseek":
            return "unknown"
        if not self.is_static:
            return "blocks"
        return "static" if self.fixed is None else "static fixed"

    @property
    def num_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.weight_files)


def is_onnx_model(path: Path) -> bool:
    """Whether the path looks like something for `read_model`; a package of ours does not."""
    if path.suffix in _MODEL_SUFFIXES and path.is_file():
        return True
    if not path.is_dir() or (path / "manifest.json").is_file():
        return False
    names = (OWN_FILE, GENAI_FILE, *_USUAL_FILES)
    return any((path / name).is_file() for name in names) or next(path.glob("*.onnx"), None) is not None


def read_model(path: Path) -> OnnxModel:
    """Raises NotFoundError, FormatError, UnsupportedError, StorageError."""
    folder = path if path.is_dir() else path.parent
    if (folder / OWN_FILE).is_file() and (path.is_dir() or not (folder / CONFIG_FILE).is_file()):
        return _read_own(folder, path)
    if path.is_dir() and (path / GENAI_FILE).is_file():
        return _read_genai(path)
    return _read_optimum(path if path.is_dir() else path.parent, path)


def read_export(folder: Path) -> OnnxModel:
    """What `pocketseek export` wrote; its files are there and as long as they were. Raises as `read_model`."""
    description = read_description(folder)
    stages = tuple(StageFile(folder / stage.file, stage.layers) for stage in description.stages)
    return OnnxModel(
        description.name,
        folder,
        "pocketseek",
        description.config,
        stages,
        TensorNames(),
        description.shares_buffer,
        sha256={folder / name: sha256 for name, sha256 in description.sha256.items()},
        is_static=description.is_static,
        fixed=description.fixed,
        least_runtime=description.least_runtime,
    )


def _read_own(folder: Path, path: Path) -> OnnxModel:
    """The export in the folder, also by the path of one of its graphs. Raises UnsupportedError for another file."""
    model = read_export(folder)
    if path != folder and path not in {stage.path for stage in model.stages}:
        raise UnsupportedError(f"{path} does not belong to the export in {folder}; give the folder as the model")
    return model


def _read_genai(folder: Path) -> OnnxModel:
    top = read_object(folder / GENAI_FILE)
    model = top.inner("model")
    decoder = model.inner("decoder")
    if "pipeline" in decoder.values:
        raise UnsupportedError(f"{folder} is a pipeline of several models; build it for the CPU: -e cpu")
    inputs, outputs = decoder.inner("inputs"), decoder.inner("outputs")
    usual = TensorNames()
    names = TensorNames(
        token_ids=inputs.text("input_ids", usual.token_ids),
        attention_mask=inputs.text("attention_mask", usual.attention_mask),
        position_ids=inputs.text("position_ids", usual.position_ids),
        past_key=_numbered(inputs, "past_key_names", usual.past_key),
        past_value=_numbered(inputs, "past_value_names", usual.past_value),
        present_key=_numbered(outputs, "present_key_names", usual.present_key),
        present_value=_numbered(outputs, "present_value_names", usual.present_value),
        logits=outputs.text("logits", usual.logits),
    )
    hidden, heads = decoder.integer("hidden_size"), decoder.integer("num_attention_heads")
    config = ModelConfig(
        family=model.text("type", "unknown"),
        num_layers=decoder.integer("num_hidden_layers", highest=1024),
        hidden_size=hidden,
        intermediate_size=_GUESSED_INTERMEDIATE * hidden,
        num_heads=heads,
        num_kv_heads=decoder.integer("num_key_value_heads", default=heads),
        head_dim=decoder.integer("head_size", default=max(1, hidden // heads)),
        vocab_size=model.integer("vocab_size"),
        context_length=model.integer("context_length"),
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
    )
    file = _inside(folder, decoder.text("filename", "model.onnx"))
    shares = top.inner("search").flag("past_present_share_buffer")
    return _single(folder, "genai", config, file, names, shares_buffer=shares)


def _read_optimum(folder: Path, path: Path) -> OnnxModel:
    config_path = next(
        (place / CONFIG_FILE for place in (folder, folder.parent) if (place / CONFIG_FILE).is_file()), None
    )
    if config_path is None:
        raise NotFoundError(
            f"{folder} has an ONNX file and neither {OWN_FILE}, {GENAI_FILE} nor {CONFIG_FILE} beside it; "
            "put the model's config.json and tokenizer.json there"
        )
    config = read_object(config_path)
    hidden, heads = config.integer("hidden_size", "n_embd"), config.integer("num_attention_heads", "n_head")
    parsed = ModelConfig(
        family=config.text("model_type", "unknown"),
        num_layers=config.integer("num_hidden_layers", "n_layer", highest=1024),
        hidden_size=hidden,
        intermediate_size=config.integer("intermediate_size", default=_GUESSED_INTERMEDIATE * hidden),
        num_heads=heads,
        num_kv_heads=config.integer("num_key_value_heads", default=heads),
        head_dim=config.integer("head_dim", default=max(1, hidden // heads)),
        vocab_size=config.integer("vocab_size"),
        context_length=config.integer("max_position_embeddings", "n_positions"),
        rms_norm_eps=config.number("rms_norm_eps", 1e-6),
        rope_theta=config.number("rope_theta", 10000.0),
    )
    file = path if path.is_file() else _only_file(folder)
    return _single(config_path.parent, "optimum", parsed, file, TensorNames(), shares_buffer=False)


def _single(
    folder: Path, maker: Maker, config: ModelConfig, file: Path, names: TensorNames, *, shares_buffer: bool
) -> OnnxModel:
    if not file.is_file():
        raise NotFoundError(f"{file} is not there; export or download the model again")
    if config.num_heads % config.num_kv_heads:
        raise FormatError(
            f"{folder}: {config.num_heads} heads cannot share {config.num_kv_heads} KV heads; export the model again"
        )
    stage = StageFile(file, (0, config.num_layers))
    return OnnxModel(folder.resolve().name, folder, maker, config, (stage,), names, shares_buffer)


def _only_file(folder: Path) -> Path:
    """Raises UnsupportedError if there is a choice to make."""
    for name in _USUAL_FILES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:8])
        raise UnsupportedError(f"{folder} has several ONNX files ({names}); give the path of the one to use")
    return found[0]


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise FormatError(f"{folder / GENAI_FILE} names a file outside of its folder; export the model again")
    return folder / name


def _numbered(names: ForeignObject, key: str, usual: str) -> str:
    """ "past_key_values.%d.key" with {layer} for %d. Raises UnsupportedError for other patterns."""
    pattern = names.text(key, usual.replace("{layer}", "%d"))
    if pattern.count("%d") != 1 or pattern.count("%") != 1 or "{" in pattern or "}" in pattern:
        raise UnsupportedError(
            f"{names.where}: {key} is {pattern[:80]!r}, which has no place for one number (%d); export the model again"
        )
    return pattern.replace("%d", "{layer}")
