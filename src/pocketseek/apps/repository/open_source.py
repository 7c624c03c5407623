"""From an address to a source.

    a folder                               a package directory on this machine
    http://HOST/PATH, https://HOST/PATH    a package directory on a web server
    OWNER/NAME, hf://OWNER/NAME[@REV]      a repository of a model hub; what looks so and is a folder here is a folder
    r1-1.5b                                a model that `pocketseek device --models` lists: its repository

What the network needs is imported only when the network is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.apps.repository.patience import Patience, Persistence
from pocketseek.apps.repository.rate import RateLimit
from pocketseek.apps.repository.source import DirectorySource, PackageSource
from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.libraries import load_library
from pocketseek.package.paths import MANIFEST_NAME
from pocketseek.settings import NetworkSettings

if TYPE_CHECKING:
    from pocketseek.apps.repository.http_client import HttpClient
    from pocketseek.apps.repository.hub import Repository

REMEDY = 'pip install "pocketseek[pull]"'
NUM_CONNECTIONS = 4


@dataclass(frozen=True)
class Link:
    """How to reach the network. rate: what all connections together may take, at most."""

    network: NetworkSettings
    num_connections: int = NUM_CONNECTIONS
    rate: RateLimit | None = None
    patience: Patience = field(default_factory=Patience)
    persistence: Persistence = field(default_factory=Persistence)

    def client(self) -> HttpClient:
        """Raises UnsupportedError without the library for it."""
        load_library("urllib3", REMEDY, needed_for="fetching something")
        from pocketseek.apps.repository.http_client import HttpClient

        return HttpClient(
            self.network,
            num_connections=self.num_connections,
            rate=self.rate,
            patience=self.patience,
            persistence=self.persistence,
        )


@dataclass(frozen=True)
class HubCheckpoint:
    """A repository that holds no package of ours. Close the client."""

    repository: Repository
    client: HttpClient


@dataclass(frozen=True)
class Opened:
    """address: to find it again, as `pull` takes it, without credentials."""

    address: str
    source: PackageSource


def open_source(address: str, link: Link) -> PackageSource:
    """The source of a package. Raises NotFoundError, FormatError (no package there), UsageError (no address),
    UnsupportedError (a library is missing), DownloadError."""
    found = find(address, link)
    if isinstance(found, Opened):
        return found.source
    found.client.close()
    raise FormatError(f"{address[:200]} holds no package of pocketseek's; `pocketseek pull` converts what is there")


def find(address: str, link: Link) -> Opened | HubCheckpoint:
    """As `open_source`, and a repository that has to be converted."""
    if os.path.isdir(directory := Path(os.path.expanduser(address))):
        return Opened(str(directory.absolute()), _directory(directory.absolute()))
    if address.startswith(("/", ".", "~")):
        raise NotFoundError(f"{address[:200]} is not there; check the path, and whether the disk is connected")
    if address.lower().startswith(("http://", "https://")):
        return _closing_on_error(link.client(), lambda client: _website(address, client))
    return _closing_on_error(link.client(), lambda client: _repository(address, link, client))


def _closing_on_error(
    client: HttpClient, open_with: Callable[[HttpClient], Opened | HubCheckpoint]
) -> Opened | HubCheckpoint:
    try:
        return open_with(client)
    except BaseException:  # also Ctrl-C: its connections do not stay open, and it is raised again
        client.close()
        raise


def _directory(directory: Path) -> DirectorySource:
    if not os.path.isfile(directory / MANIFEST_NAME):
        raise FormatError(
            f"{directory} has no {MANIFEST_NAME}, so it is no package; install a checkpoint with `pocketseek convert`"
        )
    return DirectorySource(directory)


def _website(address: str, client: HttpClient) -> Opened:
    from pocketseek.apps.repository.http_source import HttpSource, parse_http_address

    place = parse_http_address(address)
    if place.url.endswith((".gguf", ".safetensors")):
        raise UsageError(f"{place.url} is a file and no package's folder; fetch it, then `pocketseek convert` it")
    source = HttpSource(place, client)
    return Opened(source.name, source)


def _repository(address: str, link: Link, client: HttpClient) -> Opened | HubCheckpoint:
    from pocketseek.apps.catalogue import catalogue
    from pocketseek.apps.repository.http_source import HttpSource
    from pocketseek.apps.repository.hub import files_address, parse_repository, read_repository

    known = {model.name: model.repository for model in catalogue()}
    name = parse_repository(known.get(address, address))
    if name is None:
        raise NotFoundError(
            f"{address[:200]} is no folder here, no web address and no repository (OWNER/NAME); check it, or choose a "
            "name that `pocketseek device --models` shows"
        )
    repository = read_repository(client, link.network, name)
    if not repository.is_package:
        return HubCheckpoint(repository, client)
    source = HttpSource(files_address(link.network, name, repository.commit), client, str(name))
    return Opened(str(name), source)
