"""A model hub on this machine, shaped as Hugging Face's is for its own client: listings, files, and redirects to
another server for large ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from web_server import Asked, Fault, Faults, WebServer, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".gguf", ".bin")


class FakeHub:
    """cdn: where large files are. faults: of both servers, looked up after the hub's own redirects."""

    def __init__(self, server: WebServer, cdn: WebServer) -> None:
        self.server = server
        self.cdn = cdn
        self.faults: Faults = lambda path, count: None
        self._moved: dict[str, Fault] = {}
        server.faults = lambda path, count: self._moved.get(path) or self.faults(path, count)
        cdn.faults = lambda path, count: self.faults(path, count)

    @property
    def url(self) -> str:
        return self.server.url

    def asked(self) -> list[Asked]:
        """Of both servers."""
        return [*self.server.asked, *self.cdn.asked]

    def add(self, name: str, files: Mapping[str, bytes], *, commit: str = COMMIT) -> None:
        """A repository with these files at its revision "main"."""
        siblings = [self._add_file(name, commit, path, data) for path, data in files.items()]
        info = {"_id": "0", "id": name, "sha": commit, "private": False, "tags": [], "downloads": 0, "likes": 0}
        body = json.dumps({**info, "siblings": siblings}).encode()
        names = json.dumps({**info, "siblings": [{"rfilename": path} for path in files]}).encode()
        for path in (f"/api/models/{name}{end}" for end in ("", "/revision/main", f"/revision/{commit}")):
            self.server.pages[f"{path}?blobs=true"] = (body, {"Content-Type": "application/json"})
            self.server.pages[f"{path}?blobs=True"] = (body, {"Content-Type": "application/json"})
            self.server.pages[path] = (names, {"Content-Type": "application/json"})

    def add_folder(self, name: str, folder: Path) -> None:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.add(name, files)

    def _add_file(self, name: str, commit: str, path: str, data: bytes) -> dict[str, object]:
        sha256, blob = hashlib.sha256(data).hexdigest(), git_sha1(data)
        is_large = path.endswith(LARGE)
        etag = f'"{sha256 if is_large else blob}"'
        for revision in ("main", commit):
            place = f"/{name}/resolve/{revision}/{path}"
            headers = {"ETag": etag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            if is_large:
                linked = {
                    "X-Linked-Size": str(len(data)),
                    "X-Linked-Etag": etag,
                    "Location": f"{self.cdn.url}/cdn/{sha256}",
                }
                self._moved[place] = Fault("redirect", status=302, headers={**headers, **linked})
            else:
                self.server.pages[place] = (data, headers)
        self.cdn.pages[f"/cdn/{sha256}"] = (data, {"ETag": etag})
        listed: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": blob}
        if is_large:
            listed["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
        return listed


@contextmanager
def fake_hub(folder: Path) -> Iterator[FakeHub]:
    with serving(folder) as server, serving(folder) as cdn:
        yield FakeHub(server, cdn)


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
