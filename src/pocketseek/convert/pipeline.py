"""A checkpoint in, an installed package out: `convert_checkpoint`.

Plan everything, refuse what cannot be done, then stream: stage by stage, tensor by tensor, slab by slab. Until the last
step nothing is visible at the destination; an error, Ctrl-C or a kill leaves what was there before (see PackageWriter),
and of a conversion that takes long, hidden, what the next one goes on with (unfinished.py).
The same checkpoint, options and day give the same package, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.calibration_text import DEFAULT_TOKENS, calibration_windows
from pocketseek.convert.conversion import Conversion, Progress, calibrated_format
from pocketseek.convert.dense_only import require_dense
from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.held_out import DEFAULT_TOKENS as CHECK_TOKENS
from pocketseek.convert.held_out import HeldOutText, held_out_texts, read_by_model
from pocketseek.convert.mixed_recipe import MixedRecipe, MixedTarget, PlainRecipe, Recipe, mixed_target
from pocketseek.convert.package_files import SETTINGS_NAME, TOKENIZER_NAME, collect_files
from pocketseek.convert.provenance import default_name, describe_provenance, sanitised
from pocketseek.convert.recipe import Quant, resolve_quant
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.open import open_source
from pocketseek.convert.unfinished import TellGoingOn, going_on, kept_bytes, measuring_bytes, resume_key
from pocketseek.convert.unseen import check_unseen
from pocketseek.errors import UsageError
from pocketseek.package.paths import check_model_name
from pocketseek.package.store import ModelStore
from pocketseek.package.writer import PackageWriter
from pocketseek.settings import read_settings
from pocketseek.text.sampling_file import Recommended
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer


def convert_checkpoint(
    source: str | Path,
    destination: str | Path | None = None,
    *,
    quant: Quant | None = None,
    name: str | None = None,
    models_dir: Path | None = None,
    calibration: Sequence[str] = (),
    calibration_tokens: int = DEFAULT_TOKENS,
    target_bytes: int | None = None,
    bits: float | None = None,
    checks: Mapping[str, str] | None = None,
    check_tokens: int = CHECK_TOKENS,
    progress: Progress | None = None,
    converted_on: date | None = None,
    recommended: Recommended | None = None,
    fresh: bool = False,
    tell_going_on: TellGoingOn | None = None,
) -> Path:
    """Convert a GGUF or safetensors checkpoint (a file, or a directory with one) and return the package's directory.

    destination: the directory to create, or to replace if it is a package; default: the model's name in models_dir
    (default: where installed models live).
    quant: "q4", "q4-pure", "q8" or "keep", see `recipe`. name: what the package is called; default: as the checkpoint.
    calibration: texts of the kinds that the model will read; matrices of four bits are then quantised so that what
    comes out of them on calibration_tokens tokens of these changes least, see docs/convert.md. Takes longer; other
    machines may round other weights up.
    target_bytes, bits: the package takes so many bytes at most, or its tensors so many bits for each weight: each group
    of matrices then has a format of its own, by how much it matters on the calibration texts, or without them by the
    error of its weights (sensitivity.py, mixed_formats.py). In place of quant.
    checks: texts by kind ("en", "code" ...) that are not in calibration: what is lost on check_tokens tokens of each is
    measured and kept in the manifest's quality report (held_out.py), which takes twice a pass over them.
    progress(stage, done_bytes, total_bytes) counts bytes of the checkpoint. converted_on: default today (UTC).
    recommended: sampling that the package recommends; default: what the checkpoint does.

    A conversion with calibration, target_bytes or bits that is interrupted (Ctrl-C, kill, a full disk) is gone on with
    by the next call that asks for the same of the same checkpoint, with the same result (unfinished.py); fresh: begin
    anew. tell_going_on: is told what is done already, or why it cannot be used, and what an interruption leaves.

    Raises NotFoundError, UsageError, FormatError, UnsupportedError, StorageError, BusyError; nothing else stays behind.
    """
    with closing(open_source(source)) as opened:
        mixed = mixed_target(quant, target_bytes, bits)
        called = _choose_name(opened, name, destination)
        store = ModelStore(models_dir or read_settings().models_dir)
        target = store.path_for_new(called) if destination is None else Path(destination)
        plan = choose_planner(opened)(opened)
        for is_asked, what, remedy in (
            (calibration, "calibration", "leave --calibrate out"),
            (mixed, "choosing formats for a size", "use --quant q4-pure, which makes the smallest package"),
            (checks, "--check", "leave it out"),
        ):
            if is_asked:
                require_dense(plan.model, what, remedy)
        files = collect_files(opened, plan.model.vocab_size, recommended)
        provenance = describe_provenance(opened, converted_on or datetime.now(UTC).date())
        windows = _windows(calibration, calibration_tokens, files, plan) if calibration else None
        held_out = _held_out(checks, calibration, check_tokens, files, plan) if checks else None
        tell: Progress = progress or _silent
        asked = mixed if mixed is not None else resolve_quant(quant, opened.kind)
        if not isinstance(asked, MixedTarget) and windows is not None:
            _require_calibrated(opened, plan, asked)
        is_long = mixed is not None or windows is not None
        key = resume_key(opened, files, asked, windows) if is_long else None
        with going_on(PackageWriter(target, resume_key=key, fresh=fresh), plan.model, tell_going_on) as unfinished:
            writer = unfinished.writer
            recipe: Recipe
            if isinstance(asked, MixedTarget):
                writer.require_space(measuring_bytes(plan.model, windows) + asked.package_bytes(plan))
                recipe = MixedRecipe.choose(opened, plan, asked, windows, files, tell, unfinished)
            else:
                recipe = PlainRecipe(asked)
            conversion = Conversion(opened, plan, recipe, tell, windows)
            writer.require_space(conversion.expected_bytes(files) + kept_bytes(plan.model, windows))
            conversion.write_tensors(writer, unfinished)
            for file_name, data in files.items():
                writer.add_file(file_name, data)
            quality = conversion.quality_report()
            if held_out is not None:
                with writer.preview(name=called, model=plan.model) as package:
                    quality |= {"held_out": conversion.held_out_report(package, held_out)}
            writer.commit(
                name=called,
                model=plan.model,
                recipe=recipe.to_json(),
                quality=quality,
                provenance=provenance,
            )
    return target


def _choose_name(source: Source, name: str | None, destination: str | Path | None) -> str:
    if name is not None:
        return check_model_name(name)
    if destination is not None and (called := sanitised(Path(destination).resolve().name)):
        return called
    return default_name(source)


def _windows(texts: Sequence[str], max_tokens: int, files: Mapping[str, bytes], plan: ModelPlan) -> NDArray[np.int32]:
    return calibration_windows(
        texts, _tokenizer(files), max_tokens=max_tokens, context_length=plan.model.context_length
    )


def _require_calibrated(source: Source, plan: ModelPlan, quant: Quant) -> None:
    """Raises UsageError if the text would be read for nothing."""
    recipe, types = PlainRecipe(quant), source.tensors
    if not any(calibrated_format(recipe, tensor, types[tensor.source_name].type) for tensor in plan.tensors):
        raise UsageError(
            f"with --quant {quant} no matrix of this checkpoint is rounded to four or six bits here, so there is "
            "nothing to calibrate; leave --calibrate out, or use --quant q4 on a checkpoint with more bits"
        )


def _held_out(
    checks: Mapping[str, str], calibration: Sequence[str], max_tokens: int, files: Mapping[str, bytes], plan: ModelPlan
) -> list[HeldOutText]:
    tokenizer = _tokenizer(files)
    texts = held_out_texts(checks, tokenizer, context_length=plan.model.context_length, max_tokens=max_tokens)
    check_unseen({text.kind: read_by_model(text, tokenizer) for text in texts}, calibration)
    return texts


def _tokenizer(files: Mapping[str, bytes]) -> Tokenizer:
    return Tokenizer.from_json(files[TOKENIZER_NAME], parse_text_settings(files[SETTINGS_NAME]))


def _silent(_stage: str, _done_bytes: int, _total_bytes: int) -> None:
    pass
