"""The published document is true: whatever may be sent by it, or nearly, is answered as it says and never by a 5xx."""

import json
from collections.abc import Iterator

import pytest
import schemathesis
from api_server import Served, serving
from hypothesis import HealthCheck, Phase, settings

from pocketseek.apps.serve.openapi import openapi_bytes
from pocketseek.apps.serve.services import ServeOptions

schema = schemathesis.openapi.from_dict(json.loads(openapi_bytes()))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Its contexts are short, so that answers are."""
    options = ServeOptions(max_body_bytes=50_000)
    with serving(tmp_path_factory.mktemp("openapi"), context_length=96, num_pages=64, options=options) as server:
        yield server


def test_the_document_is_served(quick: Served) -> None:
    assert quick.client.get("/openapi.json").json() == json.loads(openapi_bytes())


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_the_document_allows_is_answered_as_it_says(case: schemathesis.Case, quick: Served) -> None:
    response = case.call(base_url=quick.url, timeout=30)
    assert response.status_code < 500 or response.status_code == 503, response.text
    case.validate_response(response, checks=[schemathesis.checks.not_a_server_error])
    assert str(response.status_code) in case.operation.definition.raw["responses"]
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
