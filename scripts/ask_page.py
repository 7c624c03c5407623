"""Asks a question in the server's page, as somebody with a phone would, in Debian's Chromium.

    python scripts/ask_page.py http://127.0.0.1:8765 "What is the capital of Spain?" page.jpg

Prints the title of the page and the answer; the picture is of the screen then. Whatever the page complains about in its
console ends it with exit code 1. Needs what the tests need: Playwright, and Chromium.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from page_browser import chromium, visiting

PATIENT_MS = 600_000  # a processor may be an emulated one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("question")
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    with chromium() as browser, visiting(browser, given.url) as visit:
        print(visit.page.title())
        visit.ask(given.question)
        answer = visit.page.locator(".answer:not(.grows)").last
        answer.locator(".facts").wait_for(timeout=PATIENT_MS)
        print(answer.inner_text())
        visit.page.screenshot(path=str(given.picture), type="jpeg", quality=70)
    return 0


if __name__ == "__main__":
    sys.exit(main())
