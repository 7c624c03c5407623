"""Refused tokens are written down, and whoever sends many fills neither the disk nor the log."""

import asyncio
from pathlib import Path

import pytest
from api_server import serving

from pocketseek.apps.serve.refusals import Refusals
from pocketseek.package.trust.audit import AuditLog


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.log")


def times_of(log: AuditLog) -> list[object]:
    return [event.fields["times"] for event in log.events() if event.name == "token-refused"]


def test_many_become_a_few_lines_with_all_of_them_counted(log: AuditLog) -> None:
    now_s = [0.0]
    refusals = Refusals(log, lambda: now_s[0])

    async def day_of_attacks() -> None:
        for _ in range(10_000):
            refusals.see()
            now_s[0] += 8.64
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)

    asyncio.run(day_of_attacks())
    refusals.close()
    times = times_of(log)
    assert isinstance(times[0], int)
    assert times[0] < 100  # the first is written at once, by a thread
    assert sum(times) == 10_000  # type: ignore[arg-type]
    assert len(times) < 40


def test_a_wrong_token_is_in_the_log_and_the_token_is_not(tmp_path: Path, log: AuditLog) -> None:
    with serving(tmp_path / "server", audit=log) as server:
        headers = {"Authorization": "Bearer ps-very-wrong"}
        assert server.client.get("/v1/models", headers=headers).status_code == 401
        server.wait_until(lambda: times_of(log) == [1], "it is not written down")
    assert b"very-wrong" not in log.path.read_bytes()
    assert log.verify().problems == ()
