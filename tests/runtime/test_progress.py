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
        row = Row("train")
        row.take({"step": "train", "event": "epoch", "epoch": 2, "epochs": 5, "metrics": {"loss": 0.51234, "acc": 1}})
        assert row.details() == "epoch 2/5  loss 0.5123  acc 1"
        row.take({"event": "log", "name": "lr", "value": 0.1})
        assert row.details() == "epoch 2/5  loss 0.5123  acc 1  lr 0.1"

    @pytest.mark.parametrize(
        "event",
        [{}, {"epoch": "two"}, {"epoch": None, "metrics": [1]}, {"metrics": {"a": "b", "": 1, "c": True}}, {"name": 1}],
    )
    def test_odd_events_change_nothing(self, event: dict[str, Any]) -> None:
        row = Row("train")
        row.take(event)
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
        event = {"step": "train", "event": "epoch", "epoch": 1, "epochs": 2, "metrics": {"loss": 0.5}}
        emit = [["emit", event], ["write_raw_event", 'not json\n[1]\n{"epoch": 9'], ["fail", 1]]
        run = make_run(Fake("prepare"), Fake("train", emit, after=("prepare",)), Fake("gate", after=("train",)))
        execute(Place(tmp_path), run, view=progress.view(stream))
        lines = [re.sub(r"\d+\.\d s", "N s", line) for line in stream.getvalue().splitlines()]
        assert lines == [
            "prepare  running",
            "prepare  done  N s",
            "train    running",
            "train    failed  N s  epoch 1/2  loss 0.5",
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
        event = {"epoch": 3, "epochs": 3, "metrics": {"val_[bold]": 0.25}}
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
        assert re.search(r"train\s+done\s+\d+\.\d\s+epoch 3/3  val_\[bold\] 0.25", last)

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
