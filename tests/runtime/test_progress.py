"""What a run shows: rows from events, plain lines, the live table, and that rich is loaded only for it."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aifctl.runtime import progress
from aifctl.runtime.progress import Row
from tests.runtime.fake_runs import Fake, Place, execute, make_run


class TestRow:
    def test_epochs_and_metrics(self) -> None:
        row = Row("train", epochs=5)
        row.take({"event": "resumed", "number": 3})
        assert row.details() == "goes on from a checkpoint"
        row = Row("train", epochs=5)
        row.take({"event": "metric", "name": "loss", "value": 0.51234, "step": 1})
        row.take({"event": "metric", "name": "accuracy", "value": 1, "step": 1})
        assert row.details() == "epoch 2/5  loss 0.5123  accuracy 1"
        row.measure({"f1": 0.5})
        assert row.details() == "epoch 2/5  loss 0.5123  accuracy 1  f1 0.5"

    @pytest.mark.parametrize(
        "event",
        [
            {},
            {"event": "checkpoint", "number": 1},
            {"event": "log", "rows": 5, "step": 1},
            {"event": "metric"},
            {"event": "metric", "name": "loss", "value": "low", "step": "one"},
            {"event": ["metric"], "name": "a", "value": 1},
        ],
    )
    def test_other_events_and_odd_values_change_nothing(self, event: dict[str, Any]) -> None:
        row = Row("train")
        row.take(event)
        row.measure(["accuracy"])
        row.measure({"accuracy": "high", "": 1, "ok": True})
        assert row == Row("train")

    def test_time_stops_when_the_step_ends(self) -> None:
        row = Row("train")
        assert row.elapsed() is None
        row.enter("running")
        started = row.started
        row.enter("running", "stopping")
        assert row.started == started
        row.seconds = 2.0
        row.enter("done")
        assert row.elapsed() == 2.0


class TestPlain:
    def test_one_line_a_change_of_state(self, tmp_path: Path) -> None:
        stream = io.StringIO()
        event = {"event": "metric", "name": "loss", "value": 0.5, "step": 0}
        emit = [["emit", event], ["write_raw_event", 'not json\n[1]\n{"event": "metric", "step"'], ["fail", 1]]
        run = make_run(Fake("prepare"), Fake("train", emit, after=("prepare",)), Fake("gate", after=("train",)))
        execute(Place(tmp_path), run, view=progress.view(stream))
        lines = [re.sub(r"\d+\.\d s", "N s", line) for line in stream.getvalue().splitlines()]
        assert lines == [
            "prepare  running",
            "prepare  done  N s",
            "train    running",
            "train    failed  N s  epoch 1  loss 0.5",
            "gate     skipped  needs train",
        ]

    def test_a_reader_that_goes_away_does_not_stop_the_run(self, tmp_path: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as stream:
            outcome = execute(Place(tmp_path), make_run(Fake("prepare")), view=progress.view(stream))
        assert outcome.state == "done"

    def test_quiet_is_quiet(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        stream = io.StringIO()
        execute(Place(tmp_path), make_run(Fake("prepare")), view=progress.view(stream, quiet=True))
        assert stream.getvalue() == ""
        assert capfd.readouterr() == ("", "")


def read_all(master: int, seen: bytearray) -> None:
    """Until the other side is closed, which Linux tells by EIO."""
    with suppress(OSError):
        while data := os.read(master, 65536):
            seen += data


class TestLive:
    def test_the_table_on_a_terminal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "100")
        master, terminal = pty.openpty()
        event = {"event": "metric", "name": "val_[bold]", "value": 0.25, "step": 2}
        seen = bytearray()
        reader = threading.Thread(target=read_all, args=(master, seen))
        reader.start()
        with os.fdopen(terminal, "w") as stream:
            view = progress.view(stream)
            assert isinstance(view, progress.LiveView)
            run = make_run(Fake("prepare"), Fake("train", [["emit", event]], after=("prepare",)))
            execute(Place(tmp_path), run, view=view)
        reader.join()
        os.close(master)
        text = seen.decode()
        assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
        last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).rsplit("step", 1)[1]
        assert re.search(r"prepare\s+done\s+\d+\.\d", last)
        assert re.search(r"train\s+done\s+\d+\.\d\s+epoch 3  val_\[bold\] 0.25", last)

    def test_a_terminal_that_is_closed_does_not_stop_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        master, terminal = pty.openpty()
        with os.fdopen(terminal, "w") as stream:
            view = progress.view(stream)
            os.close(master)
            assert execute(Place(tmp_path), make_run(Fake("prepare")), view=view).state == "done"

    def test_a_dumb_terminal_gets_plain_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "dumb")
        master, terminal = pty.openpty()
        with os.fdopen(terminal, "w") as stream:
            assert isinstance(progress.view(stream), progress.PlainView)
        os.close(master)


def test_rich_is_loaded_for_terminals_only() -> None:
    code = (
        "import sys\n"
        "from aifctl.runtime import local, progress\n"
        "local.Options(view=progress.view())\n"
        "print([name for name in ('rich', 'fsspec', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
