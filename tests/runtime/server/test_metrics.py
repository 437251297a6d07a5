"""What Prometheus and the sampled log see."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

LOW = {"p0": 1, "p1": 1, "p2": 1, "p3": 1, "colour": "blue"}
"""Its logits are 2, 2 and 1."""


def test_metrics(start, row):
    server = start("--low-confidence", "0.5")
    server.client.post("/predict", json={**row, "p0": 10})
    server.client.post("/batch_predict", json=[LOW, {**row, "p0": 10}])
    server.client.post("/predict", json={})
    server.client.get("/nothing/here")
    text = server.client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}

    def value(name, **labels):
        wanted = {"model": "fake", "version": "0123456789", **labels}
        samples = [sample for family in families.values() for sample in family.samples if sample.name == name]
        (found,) = [sample.value for sample in samples if sample.labels == wanted]
        return found

    assert value("aif_requests_total", endpoint="predict", status="200") == 1
    assert value("aif_requests_total", endpoint="predict", status="400") == 1
    assert value("aif_requests_total", endpoint="batch_predict", status="200") == 1
    assert value("aif_requests_total", endpoint="other", status="404") == 1
    assert value("aif_errors_total", endpoint="predict", reason="signature") == 1
    assert value("aif_errors_total", endpoint="other", reason="unknown-path") == 1
    assert value("aif_predictions_total") == 3
    assert value("aif_low_confidence_predictions_total") == 1
    assert value("aif_request_seconds_count", endpoint="predict") == 2
    assert value("aif_batch_rows_sum") == 3
    assert value("aif_ready") == 1
    sha = "0123456789abcdef" * 4
    assert value("aif_model_info", sha256=sha, format="custom", task="classification") == 1


def test_the_client_cannot_make_series(server):
    before = server.client.get("/metrics").text.count("\n")
    server.client.get("/one-more")
    known = server.client.get("/metrics").text.count("\n")
    for number in range(20):
        server.client.get(f"/unknown/{number}")
        server.client.get(f"/v2/models/{number}")
    after = server.client.get("/metrics").text.splitlines()
    assert not [line for line in after if "unknown/" in line or 'model="7"' in line]
    assert known >= before
    assert len(after) < known + 40


def test_predictions_are_logged_without_what_is_redacted(start, row):
    server = start("--log-sample", "1", "--redact", "colour")
    server.client.post("/batch_predict", json=[row, {**row, "p0": 10}])
    body = {
        "inputs": [
            {"name": "pixels", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4]},
            {"name": "colour", "datatype": "INT64", "shape": [1], "data": [0]},
        ]
    }
    assert server.client.post("/v2/models/fake/infer", json=body).status_code == 200
    server.stop()
    lines = [json.loads(line) for line in server.process.stdout.read().splitlines()]
    assert [line["event"] for line in lines] == ["prediction"] * 3
    assert lines[0]["row"] == {**row, "colour": "[redacted]"}
    assert lines[0]["label"] == "top"
    assert 0 < lines[0]["confidence"] < 1
    assert lines[2]["shapes"] == {"pixels": [2, 2], "colour": []}
    assert "blue" not in json.dumps(lines)


def test_nothing_is_logged_unless_asked_for(start, row):
    server = start()
    for _ in range(20):
        server.client.post("/predict", json=row)
    server.stop()
    assert server.process.stdout.read() == ""
