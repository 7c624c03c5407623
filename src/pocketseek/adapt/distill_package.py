"""A student as a package: layers by a recipe; embedding, head and text files as its teacher has them, byte for byte.

So teacher and student are of one line (package/lineage.py): whoever asks for a speed or has too little memory for the
teacher is given the student.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pocketseek
from pocketseek.adapt.distill_plan import StudentPlan
from pocketseek.adapt.train_tensors import Floats
from pocketseek.convert.encode import Loss, encode_rows
from pocketseek.convert.quality import QualityReport
from pocketseek.convert.recipe import Quant, choose_format
from pocketseek.convert.slabs import slab_ranges
from pocketseek.formats import tensor_bytes
from pocketseek.package.layer_tensors import layer_tensors
from pocketseek.package.manifest import JsonValue, render_manifest, version_id
from pocketseek.package.reader import Package
from pocketseek.package.writer import PackageWriter

_MARGIN_BYTES = 4 << 20


def write_student(
    destination: Path,
    teacher: Package,
    plan: StudentPlan,
    tensors: Mapping[str, Floats],
    *,
    quant: Quant,
    record: Mapping[str, JsonValue],
) -> None:
    """tensors: by the package's names. record: how it was made, for the manifest. Raises as PackageWriter."""
    model, quality = plan.model, QualityReport()
    with PackageWriter(destination, expected_bytes=_expected_bytes(plan, teacher, quant)) as writer:
        writer.begin_stage("embed")
        _copy(writer, teacher, "rope.inv_freq")
        if not model.tied_embeddings:
            _copy(writer, teacher, "embed.weight")
        for layer in range(model.num_layers):
            writer.begin_stage(f"layer.{layer}")
            for part in layer_tensors(model, layer):
                name = f"layer.{layer}.{part}"
                _write(writer, name, tensors[name], quant, quality)
        writer.begin_stage("head")
        _write(writer, "head.norm", tensors["head.norm"], quant, quality)
        _copy(writer, teacher, "head.weight")
        for name in teacher.manifest.files:
            writer.add_file(name, teacher.file(name))
        writer.commit(
            name=destination.name,
            model=model,
            recipe={"quant": quant, "vocabulary": "the teacher's"},
            quality=quality.to_json(),
            provenance={
                "converter": f"pocketseek {pocketseek.__version__}",
                "date": datetime.now(UTC).date().isoformat(),
                "teacher": teacher_of(teacher),
                "teacher_layers": list(plan.layers),
                "distillation": dict(record),
            },
        )


def teacher_of(teacher: Package) -> dict[str, JsonValue]:
    manifest = teacher.manifest
    return {
        "name": manifest.name,
        "manifest": version_id(render_manifest(manifest)),
        "layers": manifest.model.num_layers,
    }


def _write(writer: PackageWriter, name: str, values: Floats, quant: Quant, quality: QualityReport) -> None:
    if values.ndim == 1:
        writer.add_tensor(name, "f32", values.shape, [values.astype("<f4").tobytes()])
        return
    format_name, losses = choose_format(quant, name, "F32"), list[Loss]()
    writer.add_tensor(name, format_name, values.shape, _pieces(values, format_name, losses))
    quality.add(name, format_name, sum(losses, Loss()))


def _pieces(values: Floats, format_name: str, losses: list[Loss]) -> Iterator[NDArray[np.uint8]]:
    for start, stop in slab_ranges(values.shape):
        rows = np.ascontiguousarray(values[start:stop].astype("<f4", copy=False))
        encoded = encode_rows("F32", format_name, rows.view(np.uint8).reshape(len(rows), -1))
        losses.append(encoded.loss)
        yield encoded.packed.reshape(-1)


def _copy(writer: PackageWriter, teacher: Package, name: str) -> None:
    """The stored bytes."""
    tensor = teacher.tensor(name)
    writer.add_tensor(name, tensor.format, tensor.shape, (part.data for part in tensor.parts))


def _expected_bytes(plan: StudentPlan, teacher: Package, quant: Quant) -> int:
    kept = [entry for entry in teacher.manifest.tensors if entry.name in ("embed.weight", "head.weight")]
    copied = sum(extent.num_bytes for entry in kept for extent in entry.extents)
    made = sum(
        tensor_bytes("f32" if len(shape) == 1 else choose_format(quant, part, "F32"), shape)
        for layer in range(plan.model.num_layers)
        for part, shape in layer_tensors(plan.model, layer).items()
    )
    files = sum(entry.num_bytes for entry in teacher.manifest.files.values())
    return copied + made + files + _MARGIN_BYTES
