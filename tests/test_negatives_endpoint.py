"""The endpoint is asked over real HTTP, on a small OpenAI-compatible server of the test's own."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from transformers.utils.import_utils import is_serve_available

from lune.errors import ConfigError, ModelError
from lune.language_model import TokenScores
from lune.negatives import endpoint as endpoint_module
from lune.negatives.build import build_negatives
from lune.negatives.endpoint import KEY_VARIABLE, Endpoint
from lune.records import Fact
from lune.settings import resolve

pytest.importorskip("openai")

SERVER_STARTS_WITHIN_S = 180
FRANCE = Fact("france", "What is the capital of France?", "Paris", "France", aliases=("Lutetia",))
LINES = "1. Lyon\n- Paris\n3) The capital of France is Lille.\n\nHere are more:\nB) Nice\nIt might be Metz\n4. Lyon"


class Handler(BaseHTTPRequestHandler):
    """Answers like an OpenAI-compatible server, or fails as the test's server object says."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._reply({"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body, self.headers.get("Authorization")))
        if self.server.delay:
            time.sleep(self.server.delay)
        message = {"role": "assistant", "content": self.server.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._reply({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

    def _reply(self, value):
        failures = self.server.failures
        status = failures.pop(0) if failures else 200
        if status == 200 and not self.server.json:
            data, kind = b"<html>hello</html>", "text/html"
        else:
            data, kind = (
                json.dumps(value if status == 200 else {"error": {"message": "no"}}).encode(),
                "application/json",
            )
        with contextlib.suppress(ConnectionError):  # a client that has given up
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


@pytest.fixture
def served(tiny_folder, monkeypatch):
    """Address and model of `transformers serve`, a server that is none of ours."""
    for name in (KEY_VARIABLE, "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    if not is_serve_available():
        pytest.skip("transformers[serving] is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve"]
    command += [str(tiny_folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(SERVER_STARTS_WITHIN_S * 2):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1):
                break
            assert process.poll() is None, "the server ended"
            time.sleep(0.5)
        else:
            pytest.fail("the server did not start")
        yield url, str(tiny_folder)
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.slow
def test_it_speaks_with_transformers_serve(served, monkeypatch):
    url, model = served
    endpoint = Endpoint(url, model, timeout=60, retries=0)
    assert isinstance(endpoint._ask(FRANCE, 4), str), "an instruction such as this was not taught to the tiny model"
    # What was taught to it is the bare question.
    monkeypatch.setattr(endpoint_module, "_messages", lambda fact, _: [{"role": "user", "content": fact.prompt}])
    [found] = endpoint.propose([FRANCE], count=4)
    assert (found.origin, found.alternate) == ("endpoint", "Paris")
    with pytest.raises((ConfigError, ModelError)) as caught:
        list(Endpoint(url, "no/such-model", timeout=60, retries=0).propose([FRANCE], count=4))
    assert url in caught.value.message


@pytest.fixture
def server(monkeypatch):
    for name in (KEY_VARIABLE, "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.models, running.text, running.asked, running.failures = ["small", "large"], LINES, [], []
    running.json, running.delay = True, 0.0
    running.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def test_lines_become_short_alternates(server):
    endpoint = Endpoint(server.url)
    assert endpoint.url == server.url + "/v1" and endpoint.model == "small"
    found = list(endpoint.propose([FRANCE], count=6))
    assert [one.alternate for one in found][:4] == ["Lyon", "Paris", "Lille", "Nice"]
    assert {one.origin for one in found} == {"endpoint"}


def test_it_is_sent_the_prompt_and_the_answer_and_no_more(server):
    list(Endpoint(server.url, "large").propose([FRANCE], count=6))
    path, body, key = server.asked[0]
    assert path == "/v1/chat/completions" and body["model"] == "large" and len(server.asked) == 1
    request = body["messages"][-1]["content"]
    assert FRANCE.prompt in request and "Paris" in request and "6 different" in request
    assert "Lutetia" not in json.dumps(body) and "france" not in json.dumps(body).split('"')
    assert "response_format" not in body
    assert key == "Bearer none"


def test_the_key_is_its_own_and_the_openai_key_goes_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    list(Endpoint(server.url).propose([FRANCE], count=6))
    monkeypatch.setenv(KEY_VARIABLE, "mine")
    list(Endpoint(server.url).propose([FRANCE], count=6))
    assert [key for _, _, key in server.asked] == ["Bearer none", "Bearer mine"]


def test_a_passing_failure_is_retried(server):
    endpoint = Endpoint(server.url)
    server.failures = [503]
    assert list(endpoint.propose([FRANCE], count=6))
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("failures", "error", "message"),
    [
        ([401], ConfigError, "refuses the key"),
        ([500], ConfigError, "does not list its models"),
        ([404], ConfigError, "does not list its models"),
        ([200, 404], ConfigError, "no such page or model"),
        ([200, 400], ModelError, "failed (HTTP 400)"),
        ([200, 500], ModelError, "failed (HTTP 500)"),
    ],
)
def test_refusals_are_explained(server, failures, error, message):
    server.failures = failures
    with pytest.raises(error) as caught:
        list(Endpoint(server.url, retries=0).propose([FRANCE], count=6))
    assert message in caught.value.message and server.url in caught.value.message and caught.value.hint


def test_a_model_the_server_lacks_is_named_with_those_it_has(server):
    server.failures = [200, 404]
    with pytest.raises(ConfigError, match=r"Unknown model at the endpoint 'smal'. Did you mean: small\?.*large"):
        list(Endpoint(server.url, "smal", retries=0).propose([FRANCE], count=6))


def test_a_server_without_a_list_works_when_the_model_is_named(server):
    server.failures = [500]
    assert list(Endpoint(server.url, "large", retries=0).propose([FRANCE], count=6))


def test_no_models_and_no_json(server):
    server.models = []
    with pytest.raises(ConfigError, match="lists no model"):
        Endpoint(server.url)
    server.json = False
    with pytest.raises(ModelError, match="does not speak the OpenAI chat API"):
        list(Endpoint(server.url, "large").propose([FRANCE], count=6))


def test_nobody_there_and_too_slow(server):
    with pytest.raises(ModelError, match="cannot be reached"):
        Endpoint("http://127.0.0.1:9", retries=0)
    endpoint = Endpoint(server.url, timeout=0.1, retries=0)
    server.delay = 0.5
    with pytest.raises(ModelError, match="cannot be reached: Request timed out"):
        list(endpoint.propose([FRANCE], count=6))


def test_what_is_no_url_is_refused_before_anything_is_sent():
    with pytest.raises(ConfigError, match="must start with http"):
        Endpoint("localhost:8000")


def test_without_the_package_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError) as caught:
        Endpoint("http://127.0.0.1:9")
    assert caught.value.hint == "pip install 'lune-unlearn[endpoint]'"


class EqualModel:
    """A language model that finds every text equally likely and has nothing to say."""

    def answer(self, prompts, *, max_new_tokens=24, system=None):
        return ["" for _ in prompts]

    def sample(self, prompts, *, count, seed, temperature=1.0, max_new_tokens=24, system=None, banned=()):
        return [[""] * count for _ in prompts]

    def score(self, pairs):
        return [TokenScores((-1.0,), (0.0,), (1.0,)) for _ in pairs]


def test_a_request_takes_and_checks_what_the_endpoint_proposes(server):
    made = build_negatives([FRANCE], EqualModel(), resolve({"negatives_endpoint": server.url}), {}, {})
    assert made.alternates["france"][:3] == ["Lyon", "Lille", "Nice"]
    assert {row.alternate for row in made.rejected if row.origin == "endpoint"} >= {"Paris"}
