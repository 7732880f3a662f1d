"""The load generator against a service whose answers and delays are known."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from examples.load import Connection, Load, closed, main, open_ended


@contextmanager
def service(delay=0.0, status=200):
    """A service that answers after `delay` seconds; yields its address and the texts that it was sent."""
    texts = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            time.sleep(delay)
            body = b'{"label": "good"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/classify", texts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_clients_take_turns_through_the_texts_and_wait_for_their_answers():
    with service(delay=0.02) as (url, texts):
        load = asyncio.run(closed(url, ["a", "b", "ü"], 0.3, clients=2))
    assert load.failed == 0
    assert len(load.times) == len(texts) <= 2 * 0.3 / 0.02 + 2
    assert set(texts) == {"a", "b", "ü"}
    assert min(load.times) >= 0.02
    assert load.per_second == len(load.times) / load.seconds


def test_clients_stop_after_so_many_requests():
    with service() as (url, texts):
        load = asyncio.run(closed(url, ["a", "b"], 60.0, clients=3, requests=7))
    assert len(load.times) == len(texts) == 7


def test_requests_at_a_rate_do_not_wait_for_earlier_answers():
    with service(delay=0.2) as (url, texts):
        load = asyncio.run(open_ended(url, ["a"], 0.5, rate=40.0))
    assert load.failed == 0
    assert len(texts) == len(load.times) > 5  # one after another there would be three at most
    assert min(load.times) >= 0.2


@pytest.mark.parametrize("status", [422, 500, 503])
def test_an_answer_that_is_not_ok_is_a_failure(status):
    with service(status=status) as (url, _):
        load = asyncio.run(closed(url, ["a"], 0.2, clients=1))
    assert load.failed > 0
    assert load.times == []
    assert str(load) == f"no request was answered, {load.failed} failed"


def test_a_service_that_is_not_there_is_a_failure_and_no_endless_loop():
    with service() as (url, _):
        pass
    load = asyncio.run(closed(url, ["a"], 5.0, clients=2))
    assert load.failed == 2
    assert load.seconds < 5
    assert not asyncio.run(Connection(url).ask("a"))


def test_percentiles_are_times_that_were_measured():
    load = Load(2.0, [0.001 * number for number in range(100, 0, -1)])
    assert [round(load.percentile(share)) for share in (0, 50, 95, 99, 100)] == [1, 51, 96, 100, 100]
    assert str(load) == "50.0 requests a second; p50 51.0 ms, p95 96.0 ms, p99 100.0 ms; 100 answered, 0 failed"
    assert Load(1.0, [0.004]).percentile(99) == pytest.approx(4)


def test_the_command_reads_texts_from_a_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "texts").write_text("one two\n\nthree four five six\n")
    with service() as (url, texts):
        monkeypatch.setattr("sys.argv", ["load", url, "--seconds", "0.1", "--texts", str(tmp_path / "texts")])
        main()
    said = capsys.readouterr().out
    assert said.startswith("2 texts, 3 words on average\n")
    assert "requests a second; p50" in said
    assert set(texts) == {"one two", "three four five six"}
