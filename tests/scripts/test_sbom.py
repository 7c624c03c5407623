"""The bill of materials is whole, the same every time, and every licence in it is allowed and documented."""

import importlib.util
import json
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def loaded() -> ModuleType:
    loader = SourceFileLoader("sbom", str(ROOT / "scripts" / "sbom"))
    spec = importlib.util.spec_from_loader("sbom", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module  # dataclasses look there
    loader.exec_module(module)
    return module


sbom = loaded()


def written(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "sbom", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_the_same_every_time_and_refers_to_nothing_that_is_not_in_it() -> None:
    first = written()
    assert first.stdout == written().stdout
    bill = json.loads(first.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    refs = [bill["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in bill["components"])]
    assert len(set(refs)) == len(refs)
    assert {ref for one in bill["dependencies"] for ref in (one["ref"], *one["dependsOn"])} == set(refs)


def test_the_base_has_less_than_all() -> None:
    few = json.loads(written("--extra", "update").stdout)["components"]
    names = {one["name"] for one in few}
    assert {"numpy", "tokenizers", "zstandard", "nanobind"} <= names
    assert "starlette" not in names


def test_an_extra_that_does_not_exist_is_refused() -> None:
    assert written("--extra", "nonsense").returncode == 1


def test_every_licence_here_is_allowed() -> None:
    ended = written("--licences")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("", False),
    ],
)
def test_what_is_allowed(expression: str, good: bool) -> None:
    assert sbom.is_allowed(expression) is good


def table() -> dict[str, str]:
    """Of the last table."""
    _, _, text = (ROOT / "docs" / "releases.md").read_text("utf-8").rpartition("| library | for | licence |")
    return dict(re.findall(r"^\| ([a-z][\w-]+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE))


def test_the_documented_table_has_every_direct_dependency_with_an_allowed_licence() -> None:
    direct = {sbom.normal(one.name) for one in sbom.requirements(None)}
    assert set(table()) == direct | set(sbom.BUILT_IN)
    assert all(sbom.is_allowed(licence) for licence in table().values())


def test_the_documented_list_of_allowed_licences_is_the_one_that_is_checked() -> None:
    page = (ROOT / "docs" / "releases.md").read_text("utf-8")
    listed = re.search(r"is not one of\n(.+)\.", page)
    assert listed is not None
    assert set(listed[1].split(", ")) == set(sbom.ALLOWED)


def test_the_version_stands_in_one_place() -> None:
    from pocketseek import __version__

    told = sbom.project()
    assert "version" not in told
    assert told["dynamic"] == ["version"]
    assert sbom.version() == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_supported_versions_name_the_present_one() -> None:
    from pocketseek import __version__

    line = ".".join(__version__.split(".")[:2])
    assert f"| {line}.x" in (ROOT / "SECURITY.md").read_text("utf-8")


def test_changes_are_sections_with_a_version_and_a_date() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \((unreleased|\d{4}-\d{2}-\d{2})\)", one) for one in headings)


def test_requirements_are_read_as_pip_reads_them() -> None:
    assert all(isinstance(one, Requirement) for one in sbom.requirements(["serve"]))
