"""Time, waiting and concurrency are bounded, health answers meanwhile, and the process leaves in order."""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

SLEEP = -888.125


def slow(row, seconds):
    return {**row, "p0": SLEEP, "p1": seconds}


def wait_for(condition):
    """Polls; a test that needs this fails by pytest's own time limit."""
    while not condition():
        time.sleep(0.01)


@pytest.fixture
def background():
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit


def test_health_and_metrics_answer_while_the_model_computes(start, row, background):
    server = start("--workers", "1")
    answer = background(server.client.post, "/predict", json=slow(row, 1.5))
    wait_for(lambda: server.counter("aif_requests_in_flight") == 1)
    assert server.client.get("/v2/health/live").json() == {"live": True}
    assert server.client.get("/v2/health/ready").status_code == 200
    assert not answer.done()
    assert answer.result().status_code == 200
    assert server.counter("aif_requests_in_flight") == 0


def test_a_slow_model_is_a_504_and_the_server_goes_on(start, row):
    server = start("--timeout", "0.2", "--workers", "2")
    answer = server.client.post("/predict", json=slow(row, 3))
    assert (answer.status_code, answer.json()) == (504, {"error": "the model did not answer within 0.2 s"})
    assert server.client.post("/predict", json=row).status_code == 200
    assert server.counter("aif_errors_total", endpoint="predict", reason="timeout") == 1


def test_more_requests_than_allowed_get_503(start, row, background):
    server = start("--workers", "1", "--max-pending", "2")
    running = [background(server.client.post, "/predict", json=slow(row, 1.5)) for _ in range(2)]
    wait_for(lambda: server.counter("aif_requests_in_flight") == 2)
    answer = server.client.post("/predict", json=row)
    assert (answer.status_code, answer.json()) == (503, {"error": "too many requests at a time"})
    assert answer.headers["retry-after"] == "1"
    assert [item.result().status_code for item in running] == [200, 200]


def test_calls_that_outlive_their_requests_still_count(start, row):
    """The worker is busy with what nobody waits for any more: the next request is told so at once."""
    server = start("--workers", "1", "--max-pending", "1", "--timeout", "0.2")
    assert server.client.post("/predict", json=slow(row, 2)).status_code == 504
    answer = server.client.post("/predict", json=row)
    assert (answer.status_code, answer.json()) == (503, {"error": "the model is still busy with earlier requests"})


def test_a_body_that_does_not_arrive_is_a_408(start):
    server = start("--timeout", "0.2")
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b'POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"p0":')
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 408")
    assert received.endswith(b'{"error":"the body did not arrive within 0.2 s"}')


def test_a_client_that_leaves_is_counted_and_harms_nobody(start, row):
    server = start()
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b'POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"p0":')
    wait_for(lambda: server.counter("aif_requests_total", endpoint="predict", status="499") == 1)
    assert server.client.post("/predict", json=row).status_code == 200
    assert server.counter("aif_errors_total") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_flight_and_refuses_the_rest(start, row, background, number):
    server = start()
    late = httpx.Client(base_url=server.client.base_url, timeout=20)
    late.get("/health")
    answer = background(server.client.post, "/predict", json=slow(row, 2))
    wait_for(lambda: late.get("/metrics").text.count('in_flight{model="fake",version="0123456789"} 1.0') == 1)
    server.process.send_signal(number)
    wait_for(lambda: late.get("/v2/health/ready").status_code == 503)
    assert late.get("/v2/health/live").status_code == 200
    assert late.get("/health").json()["status"] == "draining"
    assert late.get("/v2/models/fake/ready").json() == {"name": "fake", "ready": False}
    refused = late.post("/predict", json=row)
    assert (refused.status_code, refused.json()) == (503, {"error": "the server is shutting down"})
    assert answer.result().json()["model"] == "fake"
    assert server.process.wait(timeout=20) == 0


def test_an_idle_server_ends_at_once_and_quietly(start, row):
    server = start()
    assert server.client.post("/predict", json=row).status_code == 200
    assert server.stop() == 0
    assert server.process.communicate() == ("", "")


def test_while_leaving_it_is_not_ready_but_still_answers(start, row):
    server = start("--drain-delay", "1.5")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: server.client.get("/v2/health/ready").status_code == 503)
    assert server.client.get("/health").json()["status"] == "leaving"
    assert server.client.post("/predict", json=row).status_code == 200
    assert server.process.wait(timeout=20) == 0


def test_the_grace_is_bounded(start, row, background):
    server = start("--grace", "0.3")
    answer = background(server.client.post, "/predict", json=slow(row, 30))
    wait_for(lambda: server.counter("aif_requests_in_flight") == 1)
    assert server.stop() == 1
    assert "AIF865 1 requests were cut off after 0.3 s of grace" in server.process.stderr.read()
    assert answer.result().status_code == 503
    assert answer.result().json() == {"error": "the server was stopped before the model had answered"}


def test_a_second_signal_ends_it_at_once(start, row, background):
    server = start("--grace", "60")
    answer = background(server.client.post, "/predict", json=slow(row, 30))
    wait_for(lambda: server.counter("aif_requests_in_flight") == 1)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: server.client.get("/v2/health/ready").status_code == 503)
    assert server.stop() == 1
    assert answer.result().status_code == 503


def test_concurrent_requests_are_computed_together_and_answered_apart(start, row):
    server = start("--batch-delay", "0.2", "--max-batch", "4", "--workers", "1")
    barrier = threading.Barrier(8)

    def ask(value):
        barrier.wait()
        with httpx.Client(base_url=server.client.base_url, timeout=20) as client:
            return client.post("/predict", json={**row, "p0": value}).json()["outputs"]["logits"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert found == [[value + 2.0, 0.5, 1.0] for value in range(8)]
    calls = server.counter("aif_batch_rows_count")
    assert server.counter("aif_batch_rows_sum") == 8
    assert calls < 8
    assert server.counter("aif_batch_rows_bucket", le="4.0") == calls


def test_one_bad_row_does_not_fail_those_it_was_computed_with(start, row, background):
    server = start("--batch-delay", "0.3", "--max-batch", "3")
    bodies = [row, {**row, "colour": "green"}, {**row, "p0": -777.125}]
    answers = [background(server.client.post, "/predict", json=body) for body in bodies]
    found = [answer.result() for answer in answers]
    assert [answer.status_code for answer in found] == [200, 400, 500]
    assert found[1].json()["error"].startswith("column `colour` has the unknown value 'green'")


def test_a_request_that_left_before_its_batch_is_not_computed(start, row):
    server = start("--batch-delay", "0.6", "--timeout", "0.1")
    assert server.client.post("/predict", json=row).status_code == 504
    wait_for(lambda: server.counter("aif_requests_in_flight") == 0)
    time.sleep(0.8)
    assert server.counter("aif_batch_rows_count") == 0
