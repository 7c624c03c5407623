"""`pocketseek bench --report F.html` and `--minutes N`: measure, write the page and its figures, print.

However the measurement ends, what it has is written, marked as cut short; Ctrl-C then ends the program as always. The
files come first: what reads standard output may be full or gone, and half an hour of measuring is not lost for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.bench import report_messages
from pocketseek.cli.bench.memory_limit import MemoryLimit
from pocketseek.cli.console import note, print_json, print_table, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.run.min_speed import Chosen, fallback_facts
from pocketseek.errors import UsageError

if TYPE_CHECKING:
    from pocketseek.apps.report.measure import Phase, ReportRun, Subject
    from pocketseek.apps.report.record import Conditions, Record
    from pocketseek.device.sensors import SensorFacts
    from pocketseek.runtime.engine import Engine

IDLE_S, SHORT_IDLE_S = 15.0, 3.0  # at rest before a sustained load, and where only temperatures count


def run_report(
    chosen: Chosen,
    open_engine: Callable[[], Engine],
    sensors: Callable[[], SensorFacts],
    conditions: Conditions,
    words: Words,
    *,
    page: Path | None,
    limit: MemoryLimit | None,
    as_json: bool,
) -> float | None:
    """Returns the decoding speed of one sequence. Raises UsageError before anything is measured."""
    from pocketseek.apps.report.measure import ReportRun

    if page is not None:
        check_page(page)
    with progress_bar(unit="seconds") as show:

        def show_phase(phase: Phase, done: int, total: int) -> None:
            show(words(report_messages.PHASES[phase]), done, total)

        run = ReportRun(open_engine, sensors, _subject(chosen), conditions, show=show_phase)
        try:
            run.run()
        except BaseException:  # Ctrl-C above all; it is raised again when the figures are safe
            _save_rest(run, page, words)
            raise
    record = run.record
    try:
        if page is not None:
            _write(record, page, words, cut_short=False)
    finally:  # and where the files cannot be written, the figures are at least shown
        if as_json:
            memory = {"memory": limit.facts()} if limit else {}
            print_json({**record_facts(record), **memory, **fallback_facts(chosen)})
        else:
            _print(record, words, limit)
    return record.speed.decode_tokens_per_s / conditions.concurrency if record.speed else None


def record_facts(record: Record) -> dict[str, object]:
    """As in the file."""
    from pocketseek.apps.report.record import SCHEMA, VERSION

    return {"schema": SCHEMA, "version": VERSION, **asdict(record)}


def check_page(page: Path) -> None:
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{str(page)!r:.200} is not the name of a page; use one that ends in .html")
    if page.is_dir() or not page.parent.is_dir():
        raise UsageError(f"{str(page)!r:.200} cannot be a report; name a file in a folder that exists")


def _subject(chosen: Chosen) -> Subject:
    from hashlib import sha256

    from pocketseek.apps.report.measure import Subject
    from pocketseek.apps.report.record import DeviceSeen, ModelSeen
    from pocketseek.device.probe import check_device
    from pocketseek.package.manifest import read_manifest, render_manifest

    manifest, facts = read_manifest(chosen.path), check_device()
    device = DeviceSeen(
        architecture=facts.architecture or "unknown",
        phone_model=facts.phone_model,
        soc_model=facts.soc_model,
        cpu_model=facts.cpu_model,
        num_usable_cores=len(facts.usable_cores) if facts.usable_cores else None,
        memory_total_bytes=facts.memory_total_bytes,
        android_version=facts.android_version,
        os_name=facts.os_name,
        kernel_release=facts.kernel_release,
    )
    model = ModelSeen(
        name=manifest.name,
        identity=sha256(render_manifest(manifest)).hexdigest(),
        num_parameters=manifest.num_parameters,
        package_bytes=manifest.num_bytes,
        f16_bytes=2 * manifest.num_parameters,
    )
    return Subject(device, model)


def _print(record: Record, words: Words, limit: MemoryLimit | None) -> None:
    from pocketseek.apps.report.claims import REFERENCE
    from pocketseek.cli.bench.report_figures import figure_rows

    headings = (
        record.model.name,
        words(report_messages.COLUMN_MEASURED),
        words(report_messages.COLUMN_CLAIM, device=REFERENCE.device),
    )
    limited = [(name, value, "") for name, value in limit.rows(words)] if limit else []
    print_table(headings, [*figure_rows(record, words), *limited], essential=(0, 1))
    note(words(report_messages.CLAIM_NOTE, device=REFERENCE.device))


def _save_rest(run: ReportRun, page: Path | None, words: Words) -> None:
    if page is not None and run.has_figures:
        _write(run.record, page, words, cut_short=True)


def _write(record: Record, page: Path, words: Words, *, cut_short: bool) -> None:
    from pocketseek.apps.report.record_file import record_json
    from pocketseek.apps.report.write_pair import figures_path, write_pair
    from pocketseek.cli.bench.report_page import report_page

    write_pair(page, report_page(record, words), record_json(record))
    message = report_messages.WRITTEN_SHORT if cut_short else report_messages.WRITTEN
    note(words(message, page=page, figures=figures_path(page)))
