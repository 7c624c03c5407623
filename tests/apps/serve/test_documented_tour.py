"""What docs/serve.md shows is true: its Python runs, its curl lines are answered, and so are LangChain's calls."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import langchain_openai as langchain
import pytest
from api_server import MODEL, Served

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "serve.md").read_text("utf-8")
REFERENCE = (DOCS / "serve-api.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def as_here(text: str, served: Served) -> str:
    return text.replace("http://127.0.0.1:8080", served.url).replace('"demo"', f'"{MODEL}"')


def test_the_tour_in_python_runs(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    (tour,) = blocks("python")
    exec(compile(as_here(tour, served), "tour", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    called, sunny, *tokens, similarity, error = lines[-7:]
    assert called.startswith("weather ")
    assert sunny in ("True", "False")
    assert len(tokens) == 3
    assert -1 <= float(similarity.removeprefix("similarity ")) <= 1
    assert error.startswith("400 ")


def test_the_tour_with_curl_is_answered(served: Served) -> None:
    (tour,) = blocks("sh")
    commands = [shlex.split(line) for line in as_here(tour, served).replace("\\\n", " ").splitlines()]
    assert len(commands) == 6
    for command in commands:
        try:
            done = subprocess.run(
                [command[0], "-sS", "--fail-with-body", *command[1:]], capture_output=True, timeout=60, check=False
            )
        except FileNotFoundError:
            pytest.skip("curl is not installed")
        assert done.returncode == 0, done.stdout
        assert done.stdout


def test_langchain_is_answered(served: Served) -> None:
    chat = langchain.ChatOpenAI(base_url=f"{served.url}/v1", api_key="none", model=MODEL, max_tokens=9, seed=1)
    answer = chat.invoke("Hello")
    assert "".join(chunk.content for chunk in chat.stream("Hello")) == answer.content


def test_langchain_embeds(served: Served) -> None:
    embeddings = langchain.OpenAIEmbeddings(
        base_url=f"{served.url}/v1", api_key="none", model=MODEL, check_embedding_ctx_length=False
    )
    one, other = embeddings.embed_documents(["a cat", "a kitten"])
    assert embeddings.embed_query("a cat") == pytest.approx(one)
    assert one != other


def test_llm_is_answered(served: Served, tmp_path: Path) -> None:
    """The program as a user runs it, in an empty home."""
    (settings,) = blocks("yaml")
    told = settings.replace("http://127.0.0.1:8080", served.url).replace("model_name: demo", f"model_name: {MODEL}")
    (tmp_path / "extra-openai-models.yaml").write_text(told, "utf-8")
    (tmp_path / "keys.json").write_text('{"pocketseek": "none"}', "utf-8")
    command = [sys.executable, "-m", "llm", "-m", "pocketseek", "--no-log", "-o", "max_tokens", "9", "Hello"]
    done = subprocess.run(
        command, env={**os.environ, "LLM_USER_PATH": str(tmp_path)}, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_documented_paths_are_those_of_the_document(served: Served) -> None:
    paths = json.loads(served.client.get("/openapi.json").content)["paths"]
    for path in paths:
        shown = path.replace("{name}", "NAME").replace("{id}", "ID")
        assert f"{shown}`" in REFERENCE
