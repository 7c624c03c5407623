"""What the server's parts are given instead of globals: made once, before the first request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.model_pool import ModelPool, ServedModel
from pocketseek.apps.model_state import ModelState
from pocketseek.apps.model_updates import ModelUpdates
from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.leases import ModelLeases
from pocketseek.apps.serve.limits import Admission, BodyBudget, check_model
from pocketseek.apps.serve.metrics import Metrics, render_figures
from pocketseek.apps.serve.private_files import PrivateFiles
from pocketseek.apps.serve.refusals import Refusals
from pocketseek.apps.serve.request_log import RequestLog
from pocketseek.govern.thermal_governor import ThermalStatus
from pocketseek.package.trust.audit import AuditLog

if TYPE_CHECKING:  # it is made of what needs this module
    from pocketseek.apps.serve.voice.desk import VoiceDesk


@dataclass(frozen=True)
class ServeOptions:
    """How the server behaves; the defaults are those of `pocketseek serve`.

    allowed_hosts: names besides localhost under which it may be addressed. allowed_origins: web pages of other
    addresses that may call it. require_token: also on this machine. max_requests: that run or wait, of all
    clients.
    write_timeout_s: how long a client may leave what was sent to it unread. header_timeout_s, body_timeout_s: how long
    a request may take to arrive; upload_timeout_s: a file, which may pause for body_timeout_s. shutdown_s: how long
    running answers may take after the server was asked to stop.
    """

    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    require_token: bool = False
    max_requests: int = 256
    max_connections: int = 1024
    max_body_bytes: int = 8_000_000
    max_upload_bytes: int = 200_000_000
    max_audio_bytes: int = 25_000_000
    max_bodies_bytes: int = 64_000_000
    max_header_bytes: int = 32_768
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    upload_timeout_s: float = 900.0
    write_timeout_s: float = 30.0
    shutdown_s: float = 30.0
    log_prompts: bool = False


DEFAULT_OPTIONS = ServeOptions()


class Services:
    """All that a request may need. The parts that count belong to the server's event loop.

    conversations, files: None if none are kept. Whoever gives them closes them. identity_of: as of
    `apps/doc/model_identity.py`. audit: where refused tokens are written down. updates: None where none are looked for;
    whoever gives it closes it. voice: None where it is not installed.
    """

    def __init__(
        self,
        models: ModelPool,
        tokens: TokenStore,
        options: ServeOptions = DEFAULT_OPTIONS,
        *,
        conversations: ConversationStore | None = None,
        files: PrivateFiles | None = None,
        identity_of: Callable[[ServedModel], str] = lambda model: model.name,
        state_of: Callable[[ServedModel], ModelState | None] = lambda model: None,
        audit: AuditLog | None = None,
        updates: ModelUpdates | None = None,
        voice: VoiceDesk | None = None,
    ) -> None:
        self.models = models
        self.tokens = tokens
        self.options = options
        self.conversations = conversations
        self.files = files
        self.updates = updates
        self.voice = voice
        self._identity_of = identity_of
        self._state_of = state_of
        self.refusals = Refusals(audit)
        self.leases = ModelLeases(models)
        self.admission = Admission(options.max_requests)
        self.bodies = BodyBudget(options.max_bodies_bytes)
        self.metrics = Metrics()
        self.log = RequestLog(log_prompts=options.log_prompts)

    def model_name(self, caller: Caller, name: str | None) -> str:
        """The model that is meant. Raises RefusedError (403) if the caller's token is not for it, whether there is such
        a model or not: what is served here is told only to those who may use it. Raises NotFoundError."""
        wanted = self.models.default_name if name is None else name
        check_model(caller, wanted)
        return self.models.model(wanted).name

    def model_identity(self, name: str) -> str:
        """Models that could answer differently have different ones. Asks the disk."""
        return self._identity_of(self.models.model(name))

    def model_state(self, model: ServedModel) -> ModelState | None:
        """Who signed it and so on; None: not told. Asks the disk."""
        return self._state_of(model)

    def thermal_statuses(self) -> list[ThermalStatus | None]:
        """Of the models that are open."""
        return [engine.thermal_status() for engine in self.models.loaded_engines().values()]

    def metrics_text(self) -> str:
        return render_figures(self.metrics.figures(self.models.loaded_engines(), self.admission.num_here))


def services_of(connection: HTTPConnection) -> Services:
    services = connection.app.state.services
    assert isinstance(services, Services)  # as `create_app` put it there
    return services
