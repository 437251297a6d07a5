"""`/predict` and `/batch_predict`: raw rows to label, confidence and outputs; rows that are no input of the model."""

from __future__ import annotations

import math

import pytest


def softmax_of(logits):
    powers = [math.exp(value) for value in logits]
    return [power / sum(powers) for power in powers]


def test_a_row(server, row):
    answer = server.client.post("/predict", json={**row, "id": 17, "digit": None}).json()
    assert answer.pop("confidence") == pytest.approx(softmax_of([3, 0.5, 1])[0])
    assert answer == {"label": "top", "outputs": {"logits": [3.0, 0.5, 1.0]}, "model": "fake", "version": "0123456789"}


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"rows": rows}])
def test_rows(server, row, wrap):
    other = {**row, "p2": 5, "colour": "red"}
    answer = server.client.post("/batch_predict", json=wrap([row, other])).json()
    assert [item["label"] for item in answer["predictions"]] == ["top", "bottom"]
    assert [item["outputs"]["logits"] for item in answer["predictions"]] == [[3.0, 0.5, 1.0], [3.0, 5.0, 0.0]]
    assert answer["version"] == "0123456789"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p0": "1"}, "column `p0` has '1', which is no number"),
        ({"p0": [1]}, "column `p0` is a JSON list, not a single value"),
        ({"p0": {"x": 1}}, "column `p0` is a JSON object, not a single value"),
        ({"p0": 10**400}, "column `p0` is out of range"),
        ({"p0": 1e39}, "column `p0` has an infinite value, or one too large for float32"),
        ({"colour": "green"}, "column `colour` has the unknown value 'green'; known are red, blue"),
        ({"colour": None}, "column `colour` has an empty value"),
        ({"colour": "\ud800"}, "column `colour` has text that is not Unicode"),
    ],
)
def test_values_that_are_no_input(server, row, change, message):
    answer = server.client.post("/predict", content=json_of({**row, **change}))
    assert (answer.status_code, answer.json()) == (400, {"error": message})


def json_of(value):
    import json

    return json.dumps(value)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/predict", [1], "not an object of column to value"),
        (
            "/predict",
            {"p0": 1, "p1": 1, "p2": 1, "p3": 1, "color": "red"},
            "missing column `colour`; did you mean `colour` by `color`?",
        ),
        ("/predict", {}, "missing columns `p0`, `p1`, `p2`, `p3`, `colour`"),
        ("/batch_predict", {}, 'the body is neither a list of rows nor {"rows": [...]}'),
        ("/batch_predict", [], "there are no rows"),
        ("/batch_predict", [{"p0": 1}, 3], "row 1: missing columns `p1`, `p2`, `p3`, `colour`"),
    ],
)
def test_bodies_that_are_no_rows(server, path, body, message):
    answer = server.client.post(path, json=body)
    assert (answer.status_code, answer.json()) == (400, {"error": message})


def test_the_row_at_fault_is_named(server, row):
    answer = server.client.post("/batch_predict", json=[row, {**row, "colour": "green"}])
    assert answer.json()["error"].startswith("row 2: column `colour` has the unknown value 'green'")


def test_too_many_rows(server, row):
    answer = server.client.post("/batch_predict", json=[row] * 9)
    assert (answer.status_code, answer.json()) == (413, {"error": "9 rows, the server takes 8 at once"})


def test_outputs_that_json_does_not_know_are_null(server, row):
    """An empty number becomes NaN, as in training; NaN in an answer becomes null."""
    answer = server.client.post("/predict", json={**row, "p0": None}).json()
    assert (answer["label"], answer["confidence"]) == (None, None)
    assert answer["outputs"]["logits"][0] is None
    assert answer["outputs"]["logits"][1:] == [0.5, 1.0]


def test_a_failing_model_is_a_500_without_its_reason(server, row):
    answer = server.client.post("/predict", json={**row, "p0": -777.125})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the model failed on this request; the server's log has the reason"}
