"""What the first visit of the page costs a slow phone: bytes, files, and the time to the first paint.

    python benchmarks/page_weight.py [--runs 5] [--slowdown 4]

A new browser profile each time, Debian's Chromium, 360 x 800, its processor slowed down as Chromium's own tools do it.
The server runs on the same machine and has no model loaded. sent_bytes: as they travel, compressed. Prints a table and
ends in one JSON line. Needs playwright.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Response, sync_playwright

from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.model_pool import ModelPool, ServedModel
from pocketseek.apps.serve.server import ApiServer, bind
from pocketseek.apps.serve.services import Services
from pocketseek.errors import UnsupportedError
from pocketseek.runtime.engine import Engine

_PAINTS = "performance.getEntriesByType('paint').map(e => [e.name, e.startTime])"
_USABLE = "document.querySelector('#model option') && performance.now()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slowdown", type=float, default=4.0)
    options = parser.parse_args()
    with _serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        visits = [_visit(browser, url, options.slowdown) for _ in range(options.runs)]
        browser.close()
    result = {name: round(statistics.median(visit[name] for visit in visits), 1) for name in visits[0]}
    for name, value in result.items():
        spread = f"{min(visit[name] for visit in visits):.0f} to {max(visit[name] for visit in visits):.0f}"
        print(f"{name:<24} {value:>10.0f}   ({spread})")
    print(json.dumps({"benchmark": "page_weight", "runs": options.runs, "slowdown": options.slowdown, **result}))


def _visit(browser: Browser, url: str, slowdown: float) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 360, "height": 800}, is_mobile=True, service_workers="block")
    page = context.new_page()
    replies: list[Response] = []
    page.on("response", lambda reply: replies.append(reply) if "/api/" not in reply.url else None)
    session = context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    page.goto(url, wait_until="load")
    usable_ms = page.wait_for_function(_USABLE).json_value()
    paints = dict(page.evaluate(_PAINTS))
    sizes = [len(reply.body()) for reply in replies]
    sent = [int(reply.headers["content-length"]) for reply in replies]
    context.close()
    return {
        "bytes": sum(sizes),
        "sent_bytes": sum(sent),
        "files": len(sizes),
        "first_paint_ms": paints["first-paint"],
        "first_contentful_paint_ms": paints["first-contentful-paint"],
        "usable_ms": usable_ms,
    }


@contextmanager
def _serving() -> Iterator[str]:
    def no_model(model: ServedModel, memory_bytes: int | None) -> Engine:
        raise UnsupportedError("this benchmark loads no model; ask nothing")

    listener = bind("127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as folder:
        store = ConversationStore(Path(folder) / "conversations.db")
        pool = ModelPool([ServedModel("none", Path(folder))], no_model)
        server = ApiServer(Services(pool, TokenStore(Path(folder) / "tokens.json"), conversations=store))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.stop()
        thread.join()
        store.close()
    listener.close()


if __name__ == "__main__":
    main()
