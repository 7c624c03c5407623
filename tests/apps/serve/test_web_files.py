"""The page's sources: both languages say everything, nothing comes from elsewhere, and all of it is light."""

import re
from pathlib import Path

import pocketseek

WEB = Path(pocketseek.__file__).parent / "apps" / "serve" / "web"
SOURCES = {
    path.name: path.read_text(encoding="utf-8") for path in WEB.iterdir() if path.suffix in (".js", ".css", ".html")
}
MAX_FIRST_LOAD_BYTES = 150_000


def words(language: str) -> dict[str, str]:
    return dict(re.findall(r'^  (\w+): "(.*)",$', SOURCES[f"words-{language}.js"], re.MULTILINE))


def test_both_languages_have_the_same_words_with_the_same_values() -> None:
    english, chinese = words("en"), words("zh")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_every_word_that_is_said_exists() -> None:
    said = {
        name for file, source in SOURCES.items() if file != "words.js" for name in re.findall(r'\bsay\("(\w+)"', source)
    }
    said |= set(re.findall(r'data-(?:text|label|hint)="(\w+)"', SOURCES["index.html"]))
    assert said <= words("en").keys()


def test_nothing_comes_from_elsewhere() -> None:
    for name, source in SOURCES.items():
        addresses = set(
            re.findall(r"(?:https?:)?//[\w.]+\w", re.sub(r"^\s*//.*$|(?<=[;{]) // .*$", "", source, flags=re.M))
        )
        assert addresses <= {"http://www.w3.org"}, name


def test_no_script_or_style_is_inside_the_document() -> None:
    html = SOURCES["index.html"]
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", html)


def test_all_modules_are_loaded_without_waiting_for_each_other() -> None:
    imported = {path for source in SOURCES.values() for path in re.findall(r'from "(/[\w-]+\.js)"', source)}
    assert imported == set(re.findall(r'modulepreload" href="([^"]+)"', SOURCES["index.html"]))


def test_the_first_load_is_light() -> None:
    first = [path for path in WEB.iterdir() if path.suffix != ".png" and path.name != "sw.js"]
    assert sum(path.stat().st_size for path in first) <= MAX_FIRST_LOAD_BYTES
