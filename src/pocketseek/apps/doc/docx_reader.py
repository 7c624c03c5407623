"""A DOCX -> one piece: headings by outline level, lists with their printed numbers, tables, footnotes, comments on request.

Read straight from its XML; macros, embedded objects and fields are never looked at (a field's last result is text).
Insertions under tracked changes count, deletions do not. Headers and footers of pages are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pocketseek.apps.doc.block_text import is_wide, table_text, tidy_lines
from pocketseek.apps.doc.document import Block, BlockKind, Link, Place, Remark
from pocketseek.apps.doc.docx_styles import Numbers, ParagraphStyle, Styles, W, numbering_of, outline_level
from pocketseek.apps.doc.html_words import Words
from pocketseek.apps.doc.pieces import Piece, ReadOptions
from pocketseek.apps.doc.safe_xml import Element, local_name, parse_xml, walk
from pocketseek.apps.doc.zip_parts import ZipParts
from pocketseek.errors import FormatError
