"""A page in one file: no scripts, nothing fetched, readable on a phone and a desk, in light and in dark.

Callers pass text, never markup; what they pass is escaped here. Only `parts` are markup, made by these functions and by
`svg_chart`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from pocketseek.apps.svg_chart import NUM_COLOURS

_LIGHT = (
    "--ground:#fbfbfa;--card:#fff;--ink:#1c1c1c;--quiet:#5c5c5c;--rule:#dedede;--grid:#e6e6e6;"
    "--warn:#8a4b00;--c0:#1668c7;--c1:#c2410c;--c2:#15803d;--c3:#7e22ce"
)
_DARK = (
    "--ground:#14161a;--card:#1d2026;--ink:#ececec;--quiet:#a6abb3;--rule:#363b44;--grid:#2e333b;"
    "--warn:#f0b35c;--c0:#74b3ff;--c1:#ff9d5c;--c2:#63d487;--c3:#cf9fff"
)
_STYLE = (
    f":root{{color-scheme:light dark;{_LIGHT}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    "*{box-sizing:border-box}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:1000px;margin:0 auto;padding:1rem 1rem 3rem;"
    "background:var(--ground);color:var(--ink);overflow-wrap:break-word}"
    "h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .25rem}"
    "h3{font-size:.95rem;margin:0 0 .25rem}p{margin:.25rem 0 .75rem}.quiet{color:var(--quiet);font-size:.9rem}"
    ".warn{color:var(--warn);border-left:4px solid;padding-left:.75rem}"
    ".cards,.charts{display:grid;gap:.75rem;margin:1rem 0}"
    ".cards{grid-template-columns:repeat(auto-fill,minmax(min(100%,148px),1fr))}"
    ".charts{grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr))}"
    ".card,figure{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:.75rem;margin:0}"
    ".card b{display:block;font-size:1.35rem;line-height:1.3;margin:.15rem 0}"
    ".card small{font-size:.9rem;font-weight:400}"
    ".card b.none{font-size:1rem;font-weight:400;color:var(--quiet)}.card span{font-size:.85rem;color:var(--quiet)}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0}"
    "td,th{padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top;"
    "font-variant-numeric:tabular-nums}th{font-weight:600;font-size:.85rem;color:var(--quiet)}"
    "td:first-child{color:var(--quiet)}td:last-child,th:last-child{padding-right:0}"
    ".figures td:nth-child(2){white-space:nowrap}"
    "@media(max-width:599px){table{font-size:.85rem}td,th{padding-right:.5rem}td:first-child{min-width:8em}}"
    "@media(min-width:600px){td:first-child{width:42%}}"
    "svg{display:block;width:100%;height:auto}svg text{font-size:12px;fill:var(--quiet)}"
    ".grid{stroke:var(--grid);fill:none}.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
    ".bar{fill:none;stroke-width:10}"
    ".dashed{stroke-dasharray:5 4;border-top-style:dashed!important}"
    + "".join(f".c{index}{{stroke:var(--c{index});border-color:var(--c{index})}}" for index in range(NUM_COLOURS))
    + ".legend{list-style:none;margin:.25rem 0 0;padding:0;display:flex;flex-wrap:wrap;gap:.1rem 1rem;font-size:.85rem}"
    ".legend li{display:flex;align-items:center;gap:.4rem}"
    ".swatch{width:22px;flex:none;border-top-width:3px;border-top-style:solid}"
)


@dataclass(frozen=True)
class Card:
    """A figure that counts, its unit behind a space. value None: `missing` is shown in its place, quietly."""

    label: str
    value: str | None
    missing: str = ""
    note: str = ""


def render(title: str, language: str, parts: Iterable[str]) -> str:
    """language: as HTML names it."""
    return (
        f'<!doctype html><html lang="{escape(language)}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """kind: "", "quiet" or "warn"."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def cards(items: Iterable[Card]) -> str:
    return f'<div class="cards">{"".join(map(_card, items))}</div>'


def table(rows: Sequence[Sequence[str]], headings: Sequence[str] = (), *, is_figures: bool = False) -> str:
    """is_figures: the second column holds short values, which are not to be broken over lines."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    opening = '<table class="figures">' if is_figures else "<table>"
    return opening + (f"<thead><tr>{head}</tr></thead>" if headings else "") + f"<tbody>{body}</tbody></table>"


def charts(items: Iterable[tuple[str, str, str]]) -> str:
    """(heading, note, what `line_chart` drew) of each."""
    figures = (
        f"<figure><h3>{escape(title)}</h3>{paragraph(note, 'quiet') if note else ''}{drawing}</figure>"
        for title, note, drawing in items
    )
    return f'<div class="charts">{"".join(figures)}</div>'


def _card(card: Card) -> str:
    if card.value is None:
        value = f'<b class="none">{escape(card.missing)}</b>'
    else:
        number, _, unit = card.value.partition(" ")
        value = f"<b>{escape(number)}{f' <small>{escape(unit)}</small>' if unit else ''}</b>"
    note = f"<span>{escape(card.note)}</span>" if card.note else ""
    return f'<div class="card"><span>{escape(card.label)}</span>{value}{note}</div>'
