"""Voice sessions over the real WebSocket, with engines that are none; and whatever a hostile client may send."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from api_server import Served, serving
from fake_speech import SPOKEN_RATE, FakeSpeech, burst, silence
from page_script import answering_each
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from pocketseek.apps.access_tokens import TokenLimits, TokenStore
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.apps.serve.voice import voice_api
from pocketseek.apps.serve.voice.desk import VoiceDesk
from pocketseek.apps.serve.voice.frames import MOST_FRAME_BYTES
from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.sound.sound_file import pcm16
from pocketseek.errors import VoiceError

ANSWERS = {"Hello there": "Good day. How are you today, and what can be done for you?", "Stop it": "Very well."}
SAID = ("Hello there", "Stop it")
FRAME = 512


@pytest.fixture
def speech() -> FakeSpeech:
    return FakeSpeech(SAID)


@pytest.fixture
def served(tmp_path: Path, speech: FakeSpeech) -> Iterator[Served]:
    with serving(tmp_path, logits=answering_each(ANSWERS), voice=VoiceDesk(speech.makers())) as server:
        yield server


def ticket(served: Served, headers: dict[str, str] | None = None, **fields: object) -> dict[str, object]:
    reply = served.client.post("/api/voice", json=fields, headers=headers)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


def address(served: Served) -> str:
    return f"ws://127.0.0.1:{served.port}/api/voice"


@contextmanager
def calling(served: Served, headers: dict[str, str] | None = None, **fields: object) -> Iterator[Caller]:
    given = ticket(served, headers, **fields)
    offered = [str(given["protocol"]), str(given["ticket"])]
    with connect(address(served), subprotocols=offered) as socket:
        yield Caller(socket)


class Caller:
    """Somebody with a microphone: what is received is sorted."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, object]] = []
        self.sound: dict[int, int] = {}  # samples of each turn
        self._turn = 0

    def say(self, samples: Samples) -> None:
        data = pcm16(samples).tobytes()
        for start in range(0, len(data), 2 * FRAME):
            self.socket.send(data[start : start + 2 * FRAME])

    def order(self, **fields: object) -> None:
        self.socket.send(json.dumps(fields))

    def until(self, kind: str, **fields: object) -> dict[str, object]:
        """The next event of this kind; those before it are in `events`."""
        while True:
            message = self.socket.recv(timeout=30)
            if isinstance(message, bytes):
                self.sound[self._turn] = self.sound.get(self._turn, 0) + len(message) // 2
                continue
            event = json.loads(message)
            self.events.append(event)
            if event["type"] == "audio":
                assert event["sample_rate"] == SPOKEN_RATE
                self._turn = event["turn"]
            assert event["type"] != "turn_failed" or kind == "turn_failed", event
            if event["type"] == kind and fields.items() <= event.items():
                return event

    def closing(self) -> tuple[int, str]:
        """How the server ends it."""
        with suppress(ConnectionClosed):
            while True:
                self.socket.recv(timeout=30)
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""


def test_what_is_said_is_answered_in_words_and_sound_and_kept_like_typed_turns(served: Served) -> None:
    with calling(served, settings={"temperature": 0}) as caller:
        caller.until("ready")
        caller.say(burst(1.0))
        caller.say(silence(1.5))
        assert caller.until("transcript")["text"] == "Hello there"
        caller.until("turn_ended", turn=1)
        caller.order(type="played", turn=1, seconds=60)
        kept = caller.until("kept")
        assert kept["turn"] == 1
    order = [event["type"] for event in caller.events]
    assert (
        order.index("speech_started") < order.index("speech_ended") < order.index("transcript") < order.index("answer")
    )
    assert "".join(str(event["text"]) for event in caller.events if event["type"] == "answer") == ANSWERS["Hello there"]
    assert caller.sound[1] / SPOKEN_RATE > 1
    turns = served.client.get(f"/api/conversations/{kept['conversation']}").json()["turns"]
    assert [turn["content"] for turn in turns] == ["Hello there", ANSWERS["Hello there"]]
    assert turns[1]["finish_reason"] == "stop"


def test_the_turns_of_a_conversation_go_on_where_it_was(served: Served) -> None:
    name = served.client.post("/api/conversations", json={}).json()["id"]
    with calling(served, conversation=name, settings={"temperature": 0}) as caller:
        caller.until("ready")
        caller.say(burst(1.0))
        caller.say(silence(1.5))
        caller.until("turn_ended", turn=1)
        caller.order(type="played", turn=1, seconds=60)
        assert caller.until("kept")["conversation"] == name
    assert served.client.get(f"/api/conversations/{name}").json()["num_turns"] == 2


def test_who_speaks_while_an_answer_sounds_breaks_it_off_and_what_was_heard_is_kept(served: Served) -> None:
    with calling(served, settings={"temperature": 0}) as caller:
        caller.until("ready")
        caller.say(burst(1.0))
        caller.say(silence(1.5))
        caller.until("turn_ended", turn=1)
        caller.order(type="played", turn=1, seconds=0.6)
        caller.say(burst(1.0))
        heard = caller.until("interrupted", turn=1)["heard_text"]
        caller.say(silence(1.5))
        kept = caller.until("kept")
        caller.until("turn_ended", turn=2)
    assert ANSWERS["Hello there"].startswith(str(heard))
    assert len(str(heard)) < len(ANSWERS["Hello there"])
    turns = kept["turns"]
    assert isinstance(turns, list)
    assert turns[1]["content"] == heard
    assert turns[1]["finish_reason"] == "cancelled"


def test_a_button_begins_and_ends_a_turn(served: Served) -> None:
    with calling(served, push_to_talk=True, settings={"temperature": 0}) as caller:
        caller.until("ready")
        caller.order(type="press")
        caller.say(burst(1.0))
        caller.order(type="release")
        assert caller.until("transcript")["text"] == "Hello there"
        caller.until("turn_ended", turn=1)


def test_the_session_ends_when_it_is_told_to_and_keeps_what_was_heard_first(served: Served) -> None:
    with calling(served, settings={"temperature": 0}) as caller:
        caller.until("ready")
        caller.say(burst(1.0))
        caller.say(silence(1.5))
        caller.until("turn_ended", turn=1)
        caller.order(type="played", turn=1, seconds=0.6)
        caller.order(type="end")
        kept = caller.until("kept")
        assert caller.closing()[0] == 1000
    assert served.client.get(f"/api/conversations/{kept['conversation']}").json()["num_turns"] == 2


def test_engines_are_lent_again_and_closed_with_the_desk(served: Served, speech: FakeSpeech) -> None:
    for _ in range(3):
        with calling(served) as caller:
            caller.until("ready")
            caller.order(type="end")
            caller.closing()
        served.wait_until(lambda: served.services.admission.num_here == 0, "the session goes on")
    assert len(speech.recognisers) == len(speech.synthesisers) == 1
    assert served.services.voice is not None
    served.services.voice.close()
    assert speech.recognisers[0].is_closed
    assert speech.synthesisers[0].is_closed


def test_a_ticket_is_good_once(served: Served) -> None:
    given = ticket(served)
    offered = [str(given["protocol"]), str(given["ticket"])]
    with connect(address(served), subprotocols=offered) as socket:
        assert socket.subprotocol == given["protocol"]
        with pytest.raises(InvalidStatus) as error:
            connect(address(served), subprotocols=offered)
    assert error.value.response.status_code == 401
    assert json.loads(error.value.response.body)["error"]["code"] == "invalid_ticket"


@pytest.mark.parametrize("offered", [None, ["pocketseek.voice"], ["pocketseek.voice", "ticket.wrong"]])
def test_without_a_good_ticket_there_is_no_session(served: Served, offered: list[str] | None) -> None:
    with pytest.raises(InvalidStatus) as error:
        connect(address(served), subprotocols=offered)
    assert error.value.response.status_code == 401


def test_pages_of_others_and_other_names_are_refused(served: Served) -> None:
    assert handshake(served, "127.0.0.1", "Origin: https://example.org\r\n").startswith(b"HTTP/1.1 403")
    assert handshake(served, "example.org").startswith(b"HTTP/1.1 421")
    own = f"127.0.0.1:{served.port}"
    assert handshake(served, own, f"Origin: http://{own}\r\n").startswith(b"HTTP/1.1 101")


def handshake(served: Served, host: str, headers: str = "") -> bytes:
    """The first line of the answer to a good ticket."""
    given = ticket(served)
    request = (
        f"GET /api/voice HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n"
        f"Sec-WebSocket-Protocol: {given['protocol']}, {given['ticket']}\r\n\r\n"
    )
    with served.open_socket() as socket:
        socket.sendall(request.encode())
        return socket.recv(4096).split(b"\r\n")[0]


HOSTILE: dict[str, tuple[Callable[[Caller], None], int, str]] = {
    "half a sample": (lambda caller: caller.socket.send(b"123"), 1007, "half a sample"),
    "words for sound": (lambda caller: caller.socket.send("hello"), 1003, "not understood"),
    "an order that is none": (lambda caller: caller.order(type="explode"), 1003, "not understood"),
    "a list": (lambda caller: caller.socket.send("[" * 900), 1003, "not understood"),
    "a long text": (lambda caller: caller.socket.send(" " * 2000), 1009, "at most"),
    "a long frame": (lambda caller: caller.socket.send(bytes(MOST_FRAME_BYTES + 2)), 1009, "at most"),
    "a huge message": (lambda caller: caller.socket.send(bytes(1 << 20)), 1009, "maximum size"),
    "another rate": (
        lambda caller: [caller.socket.send(bytes(MOST_FRAME_BYTES)) for _ in range(40)] and None,
        1008,
        "faster than it is spoken",
    ),
    "a flood of small frames": (
        lambda caller: [caller.socket.send(bytes(2)) for _ in range(3000)] and None,
        1008,
        "too many frames",
    ),
    "a flood of orders": (
        lambda caller: [caller.order(type="here") for _ in range(500)] and None,
        1008,
        "messages a second",
    ),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_a_hostile_client_is_told_why_it_is_cut_off(served: Served, what: str) -> None:
    act, code, reason = HOSTILE[what]
    with calling(served) as caller:
        caller.until("ready")
        with suppress(ConnectionClosed):  # it may be cut off while it is still sending
            act(caller)
        assert caller.closing()[0] == code
        assert reason in caller.closing()[1]
    served.wait_until(lambda: served.services.admission.num_here == 0, "its place is still taken")


def test_sessions_are_counted(served: Served) -> None:
    with calling(served) as one, calling(served) as other:
        one.until("ready")
        other.until("ready")
        reply = served.client.post("/api/voice", json={})
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "5")
    served.wait_until(lambda: served.services.admission.num_here == 0, "they are still counted")
    ticket(served)


def test_an_engine_that_cannot_be_opened_is_told_with_its_remedy(served: Served, speech: FakeSpeech) -> None:
    speech.error = VoiceError("no speech recogniser is installed; run `pocketseek voice setup`")
    with calling(served) as caller:
        code, reason = caller.closing()
    assert (code, "voice setup" in reason) == (1011, True)


def test_a_server_without_voice_says_how_to_get_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        reply = served.client.post("/api/voice", json={})
        assert reply.status_code == 422
        assert "voice setup" in reply.json()["error"]["message"]


def test_a_conversation_that_is_not_there_or_about_documents_is_not_spoken(served: Served) -> None:
    assert served.client.post("/api/voice", json={"conversation": "0123"}).status_code == 404
    file = served.client.post("/v1/files", files={"file": ("a.txt", b"words")}, data={"purpose": "user_data"}).json()
    name = served.client.post("/api/conversations", json={"documents": [file["id"]]}).json()["id"]
    assert served.client.post("/api/voice", json={"conversation": name}).status_code == 422


def test_sessions_end_when_the_server_does(tmp_path: Path, speech: FakeSpeech) -> None:
    with (
        serving(tmp_path, logits=answering_each(ANSWERS), voice=VoiceDesk(speech.makers())) as served,
        calling(served) as caller,
    ):
        caller.until("ready")
        served.server.stop()
        assert caller.closing()[0] == 1012
        served.thread.join(20)
        assert not served.thread.is_alive()


def test_a_lost_connection_gives_everything_back(served: Served) -> None:
    with calling(served) as caller:
        caller.until("ready")
        caller.say(burst(0.5))
        caller.socket.socket.close()
    served.wait_until(lambda: served.services.admission.num_here == 0, "its place is still taken")
    served.wait_until(
        lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("voice-")],
        "its threads still run",
    )


def test_a_token_decides_what_is_spoken_with_and_how_often(tmp_path: Path, speech: FakeSpeech) -> None:
    tokens = TokenStore(tmp_path / "tokens.json")
    _, secret = tokens.create("phone", TokenLimits(requests_per_minute=3))
    options = ServeOptions(require_token=True)
    with serving(
        tmp_path, logits=answering_each(ANSWERS), options=options, tokens=tokens, voice=VoiceDesk(speech.makers())
    ) as served:
        assert served.client.post("/api/voice", json={}).status_code == 401
        bearer = {"Authorization": f"Bearer {secret}"}
        with calling(served, bearer, settings={"temperature": 0}) as caller:  # two requests: the ticket, the session
            caller.until("ready")
            caller.say(burst(1.0))
            caller.say(silence(1.5))
            caller.until("turn_ended", turn=1)
            caller.say(burst(1.0))
            caller.say(silence(1.5))
            assert "requests per minute" in str(caller.until("turn_failed", turn=2)["message"])


def test_a_session_ends_when_its_token_is_revoked_also_if_another_gets_the_name(
    tmp_path: Path, speech: FakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_api, "TOKEN_CHECK_S", 0.01)
    tokens = TokenStore(tmp_path / "tokens.json")
    _, secret = tokens.create("phone")
    with serving(tmp_path, tokens=tokens, voice=VoiceDesk(speech.makers())) as served:
        bearer = {"Authorization": f"Bearer {secret}"}
        left = ticket(served, bearer)
        with calling(served, bearer) as caller:
            caller.until("ready")
            tokens.revoke("phone")
            tokens.create("phone")
            assert caller.closing() == (1008, "the access token was revoked; ask for a new one")
        with connect(address(served), subprotocols=[str(left["protocol"]), str(left["ticket"])]) as late:
            assert Caller(late).closing() == (1008, "the access token was revoked; ask for a new one")
