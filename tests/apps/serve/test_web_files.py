"""The page's sources: both languages say everything, nothing comes from elsewhere, and all of it is light."""

import re
from pathlib import Path

import pocketseek

WEB = Path(pocketseek.__file__).parent / "apps" / "serve" / "web"
SOURCES = {
    path.name: path.read_text(encoding="utf-8") for path in WEB.iterdir() if path.suffix in (".js", ".css", ".html")
}
MAX_FIRST_LOAD_BYTES = 150_000
LATER = {"voice.js", "voice-sound.js", "voice-capture.js", "voice.css"}  # loaded by whoever talks


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
    first = [source for name, source in SOURCES.items() if name not in LATER]
    imported = {path for source in first for path in re.findall(r'from "(/[\w-]+\.js)"', source)}
    assert imported == set(re.findall(r'modulepreload" href="([^"]+)"', SOURCES["index.html"]))


def test_what_is_loaded_later_is_not_loaded_first() -> None:
    html = SOURCES["index.html"]
    assert not [name for name in LATER if f"/{name}" in html]
    assert SOURCES.keys() >= LATER


def test_the_first_load_is_light() -> None:
    first = [path for path in WEB.iterdir() if path.suffix != ".png" and path.name not in {"sw.js", *LATER}]
    assert sum(path.stat().st_size for path in first) <= MAX_FIRST_LOAD_BYTES


def colours() -> dict[str, dict[str, str]]:
    """Of the light and the dark theme, from the style sheet."""
    blocks = re.findall(r'^:root(\[data-theme="dark"\])? \{(.*?)^\}', SOURCES["page.css"], re.MULTILINE | re.DOTALL)
    found = {"dark" if dark else "light": dict(re.findall(r"--([\w-]+): (#\w+);", text)) for dark, text in blocks}
    assert found.keys() == {"light", "dark"}
    return found


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_text_can_be_read_in_both_themes() -> None:
    for theme, of in colours().items():
        for ground in ("back", "raised", "sunk"):
            for ink in ("ink", "soft", "accent", "danger", "comment", "keyword", "string", "number", "name"):
                assert contrast(of[ink], of[ground]) >= 4.5, (theme, ink, ground)
        assert contrast(of["on-accent"], of["accent"]) >= 4.5
        assert contrast(of["ink"], of["bubble"]) >= 7


def test_a_chosen_dark_theme_is_the_systems_dark_theme() -> None:
    css = SOURCES["page.css"]
    system = re.search(r"prefers-color-scheme: dark\) \{\s*:root[^{]*\{(.*?)\}", css, re.DOTALL)
    assert system is not None
    assert dict(re.findall(r"--([\w-]+): (#\w+);", system[1])) == colours()["dark"]
