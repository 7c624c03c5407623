"""/v1/chat/completions as a client sees it."""

from api_server import MODEL, Served


def test_an_answer_is_whole(served: Served) -> None:
    reply = served.chat("Hello", max_tokens=5, seed=1)
    assert reply.status_code == 200, reply.text
    value = reply.json()
    assert value["object"] == "chat.completion"
    assert value["model"] == MODEL
    (choice,) = value["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("length", "stop")
    assert value["usage"]["completion_tokens"] <= 5
    assert value["usage"]["total_tokens"] == value["usage"]["prompt_tokens"] + value["usage"]["completion_tokens"]


def test_the_pieces_of_a_stream_are_the_whole_answer(served: Served) -> None:
    whole = served.chat("Hello", max_tokens=50, seed=1).json()["choices"][0]
    chunks = served.stream("Hello", max_tokens=50, seed=1)
    deltas = [chunk["choices"][0] for chunk in chunks]
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == whole["message"]["content"]
    assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
    assert [delta["finish_reason"] for delta in deltas if delta["finish_reason"]] == [whole["finish_reason"]]
