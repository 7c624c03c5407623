"""`pocketseek token`: create, list, revoke."""

from collections.abc import Callable
from pathlib import Path


def test_a_token_is_shown_once_and_listed_without_it(run: Callable, home: Path) -> None:
    created = run("token", "create", "phone", "--requests-per-minute", 9, "--model", "demo", "--json").json
    assert str(created["token"]).startswith("ps-")
    listed = run("token", "list", "--json").json
    assert listed == {"tokens": [{key: value for key, value in created.items() if key != "token"}]}
    assert created["models"] == ["demo"]
    assert created["may_update"] is False
    shown = run("token", "list").out
    assert shown.split("\t")[0] == "phone"
    assert str(created["token"]) not in (home / "tokens.json").read_text() + shown


def test_for_people_the_token_stands_alone_on_a_line(run: Callable) -> None:
    assert run("token", "create", "phone").out.splitlines()[1].startswith("ps-")


def test_what_a_limit_to_models_does_not_do_is_told(run: Callable, home: Path) -> None:
    said = run("token", "create", "phone", "--model", "nosuch").err
    assert "Not installed so far: nosuch" in said
    assert "--require-token" in said
    assert run("token", "create", "other").err == ""


def test_revoked_is_gone(run: Callable) -> None:
    run("token", "create", "phone")
    assert run("token", "revoke", "phone").code == 0
    assert run("token", "list", "--json").json == {"tokens": []}
    assert run("token", "revoke", "phone").code == 3


def test_mistakes_are_explained(run: Callable) -> None:
    run("token", "create", "phone")
    assert "revoke it first" in run("token", "create", "phone").error
    assert run("token", "create", "x", "--concurrent", 0).code == 2
    assert run("token", "frob").code == 2
    assert "There are no tokens" in run("token", "list").out or run("token", "list").out


def test_a_token_may_update_models_if_it_is_said(run: Callable, home: Path) -> None:
    assert run("token", "create", "phone", "--may-update", "--json").json["may_update"] is True
    assert run("token", "list").out.strip().endswith("\tmay")
    file = home / "tokens.json"
    file.write_text(file.read_text().replace('"may_update": true', '"may_update": "yes"'))
    assert run("token", "list", "--json").json["tokens"][0]["may_update"] is False
