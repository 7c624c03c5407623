"""For MkDocs: the front pages of the repository and all options of all commands are pages of the site too; a page that
nobody put into the navigation is found under "More"; and each language has its own navigation, words of the theme, and
a switch to the same page in the other one. Of docs/zh/NAME.md that is docs/NAME.md; its headings have the anchors of
the English ones.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jieba  # Material cuts Chinese into words with it, if it is there; without it the search would find little
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command

from pocketseek.cli.command_tree import PANELS, commands
from pocketseek.cli.examples import EXAMPLES
from pocketseek.cli.main import PROGRAM, app

jieba.setLogLevel(logging.WARNING)

ROOT = Path(__file__).parent.parent
FRONT_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "README.md": "index.md",
    "README.zh-CN.md": "zh/index.md",
}
OPTIONS = "options.md"
GENERATED = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
CHINESE = "zh/"
CHINESE_SECTION = "中文"
_FULL = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef“”"
GAP = re.compile(
    rf"(?<=[{_FULL}])\n[ ]*(?=[{_FULL}])|(?<=[，。、；：！？）])\n[ ]*(?=[^\s|#`<>*-])|(?<=\S)\n[ ]*(?=[（，])"
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    pages = {str(path.relative_to(config.docs_dir)) for path in Path(config.docs_dir).rglob("*.md")}
    pages |= {FRONT_PAGES[name] for name in GENERATED if (ROOT / name).exists()}
    pages.add(OPTIONS)
    listed: set[str] = set()
    config.nav = _existing(config.nav, pages, listed)
    if rest := sorted(pages - listed):
        config.nav.append({"More": list(rest)})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in GENERATED:
        if (ROOT / name).exists():
            files.append(File.generated(config, FRONT_PAGES[name], content=_moved((ROOT / name).read_text("utf-8"))))
    files.append(File.generated(config, OPTIONS, content=_every_option()))
    return files


def _every_option() -> str:
    """docs/pocketseek.1 for a browser."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    tree = dict(commands(root))
    lines = [
        "# Every option",
        "",
        "As `pocketseek COMMAND --help` and `man pocketseek` tell them. [Commands](commands.md) is shorter.",
    ]
    for panel, names in PANELS.items():
        lines += ["", f"## {panel}"]
        for name in (name for name in tree if name.partition(" ")[0] in names):
            command = tree[name]
            arguments = [_argument(one) for one in command.params if isinstance(one, TyperArgument)]
            lines += ["", f"### {name}", "", "    " + " ".join([PROGRAM, name, *arguments]), "", command.help or ""]
            options = [one for one in command.params if isinstance(one, TyperOption) and not one.hidden]
            if shown := [one for one in options if one.name != "help"]:
                lines += ["", "| option | |", "| --- | --- |"]
                lines += [f"| {_names(one)} | {_cell(one.help or '')} |" for one in shown]
            lines += ["", *(f"    {example}" for example in EXAMPLES.get(name, ()))]
    return "\n".join(lines) + "\n"


def _argument(argument: TyperArgument) -> str:
    name = argument.metavar or str(argument.name).upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _names(option: TyperOption) -> str:
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    return _cell(", ".join(f"`{name}{value}`" for name in (*option.opts, *option.secondary_opts)))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Links to the front pages lead to their places, links into the rest of the repository are text."""
    path = page.file.src_uri
    up = "../" * (path.count("/") + 1)
    for name, target in FRONT_PAGES.items():
        markdown = markdown.replace(f"]({up}{name}", f"]({'../' * path.count('/')}{target}")
    markdown = re.sub(rf"\[([^]]*)\]\({re.escape(up)}[a-z][^)]*\)", r"\1", markdown)
    markdown = markdown.replace("](pocketseek.1)", f"]({OPTIONS})")
    if path.startswith(CHINESE):
        twin = Path(config.docs_dir) / path.removeprefix(CHINESE)
        markdown = _without_gaps(_with_anchors_of(twin.read_text("utf-8"), markdown))
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Short pieces of code stay on one line: a browser would break them behind each hyphen."""
    return re.sub(r"<code>(?!pocketseek )([^<\n]{1,24})</code>", r'<code class="short">\1</code>', html)


def on_page_context(context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation, **_: Any) -> Any:
    path = page.file.src_uri
    is_chinese = path.startswith(CHINESE)
    english = path.removeprefix(CHINESE)
    has_twin = (Path(config.docs_dir) / CHINESE / english).exists()
    config.theme["language"] = "zh" if is_chinese else "en"
    config.extra["alternate"] = [
        {"name": "English", "link": _address(english), "lang": "en"},
        {"name": "中文", "link": _address(CHINESE + (english if has_twin else "index.md")), "lang": "zh"},
    ]
    config.extra["homepage"] = _address(CHINESE + "index.md" if is_chinese else "index.md")
    chinese = next(item for item in nav.items if isinstance(item, Section) and item.title == CHINESE_SECTION)
    items = chinese.children if is_chinese else [item for item in nav.items if item is not chinese]
    context["nav"] = Navigation(items, nav.pages)
    context["nav"].homepage = nav.homepage
    return context


def _address(path: str) -> str:
    return path.removesuffix(".md") + ".html"


def _existing(nav: list[Any], pages: set[str], listed: set[str]) -> list[Any]:
    """Without the pages that are not there; adds the others to listed."""
    kept: list[Any] = []
    for entry in nav:
        title, target = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(target, list):
            target = _existing(target, pages, listed)
        elif target not in pages:
            continue
        else:
            listed.add(target)
        kept.append(target if title is None else {title: target})
    return kept


def _moved(text: str) -> str:
    """Links of a page that moves from the repository's root into docs/."""
    for name in GENERATED:
        text = text.replace(f"]({name}", f"]({FRONT_PAGES[name]}")
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^]]*)\]\(LICENSE\)", r"\1", text)


def _headings(lines: list[str]) -> Iterator[int]:
    """Numbers of the lines that are headings."""
    is_code = False
    for number, line in enumerate(lines):
        is_code ^= line.startswith("```")
        if not is_code and re.match("#+ ", line):
            yield number


def _with_anchors_of(english: str, chinese: str) -> str:
    lines, others = chinese.splitlines(), english.splitlines()
    for number, other in zip(_headings(lines), _headings(others), strict=True):
        lines[number] += f" {{#{_anchor(others[other])}}}"
    return "\n".join(lines) + "\n"


def _without_gaps(chinese: str) -> str:
    """A line's end between two words of Chinese is nothing, where a browser would show a space."""
    parts = re.split(r"(^```.*?^```)", chinese, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [GAP.sub("", part) for part in parts[::2]]
    return "".join(parts)


def _anchor(heading: str) -> str:
    """As Python-Markdown's toc makes it of a heading in ASCII."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.lstrip("# "))
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())
