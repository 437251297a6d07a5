"""The entry as a process: exit codes, result file, skipping, signals, and what it says of user code that fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from aifctl import contract, digest
from aifctl.contract import EXIT_FAILED, EXIT_RETRY, CustomConfig, Kind
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import entry
from aifctl.runtime.job import import_attribute


def _custom(bench: Any, body: str, **changes: Any) -> contract.StepSpec:
    """A user's step whose function is `body`; it counts its calls in a file beside the code."""
    bench.write_code("mine.py", f"def run(context):\n    {body}\n")
    config = CustomConfig(call="mine:run", inputs={}, outputs={"out": "txt"}, **changes)
    return bench.step(Kind.CUSTOM, config, {})


WRITE = "context.outputs['out'].write_text('done')"


def _process(bench: Any, spec: contract.StepSpec, **site: str) -> subprocess.Popen[str]:
    arguments = contract.to_arguments(spec, replace(bench.site, **site))
    return subprocess.Popen(
        [sys.executable, "-m", "aifctl.runtime.entry", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_does_the_step_once(bench: Any) -> None:
    spec = _custom(bench, WRITE)
    result, events, told = bench.root / "result.json", bench.root / "events.jsonl", bench.root / "digest"
    for skipped in (False, True):
        process = _process(bench, spec, result=str(result), events=str(events), digest_file=str(told))
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        said = json.loads(result.read_text())
        assert (said["digest"], said["skipped"], said["outputs"]) == (spec.digest, skipped, {"out": "out.txt"})
        assert said["diagnostics"] == []
        assert told.read_text() == spec.digest
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "finished", "skipped"]
    assert {line["step"] for line in lines} == {"custom"}
    assert bench.store.find(spec.digest).file("out.txt").read_text() == "done"


def test_user_code_that_fails_is_shown_without_our_frames(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _custom(bench, "import helper; helper.divide(context.params['by'])", params={"by": 0})
    bench.write_code("helper.py", "def divide(by):\n    return 1 / by\n")
    spec = replace(spec, code=digest.of_tree(bench.code))
    result = bench.root / "result.json"
    assert bench.main(spec, result=str(result)) == EXIT_FAILED
    [finding] = json.loads(result.read_text())["diagnostics"]
    assert finding["code"] == "AIF806"
    assert finding["message"] == "step `custom` failed at helper.py:2: ZeroDivisionError: division by zero"
    assert finding["notes"] == [
        "mine.py:2 in run: import helper; helper.divide(context.params['by'])",
        "helper.py:2 in divide: return 1 / by",
    ]
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "entry.py" not in err
    assert "error[AIF806]: step `custom` failed at helper.py:2" in err
    assert bench.store.find(spec.digest) is None
    assert list((bench.root / "store" / "steps" / spec.digest / "attempts").iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("body", "code", "exit_code"),
    [
        ("raise SystemExit(3)", "AIF806", EXIT_FAILED),
        ("raise MemoryError", "AIF806", EXIT_FAILED),
        ("raise FileNotFoundError(2, 'No such file', 'x.csv')", "AIF806", EXIT_FAILED),
        ("raise OSError(28, 'No space left on device')", "AIF802", EXIT_RETRY),
        ("raise ConnectionResetError(104, 'reset')", "AIF802", EXIT_RETRY),
        ("import torch.nosuch", "AIF808", EXIT_FAILED),
        ("import nosuchmodule", "AIF806", EXIT_FAILED),
        ("pass", "AIF804", EXIT_FAILED),
        ("context.outputs['out'].symlink_to('/etc/passwd')", "AIF804", EXIT_FAILED),
        ("1/0 if context.inputs['x'] else 0", "AIF806", EXIT_FAILED),
    ],
)
def test_what_a_step_raises_becomes_an_exit_code(
    bench: Any, capsys: pytest.CaptureFixture[str], body: str, code: str, exit_code: int
) -> None:
    spec = _custom(bench, body)
    assert bench.main(spec) == exit_code
    assert f"error[{code}]" in capsys.readouterr().err
    assert bench.store.find(spec.digest) is None


def test_a_step_for_other_code_does_not_run(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _custom(bench, WRITE)
    bench.write_code("mine.py", "def run(context):\n    raise AssertionError('must not run')\n")
    assert bench.main(spec) == EXIT_FAILED
    err = capsys.readouterr().err
    assert "error[AIF807]: the code has digest" in err
    assert "must not run" not in err
    assert bench.main(spec, code=str(bench.root / "nowhere")) == EXIT_FAILED
    assert "there is no folder" in capsys.readouterr().err


def test_code_with_links_does_not_run(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _custom(bench, WRITE)
    (bench.code / "more").symlink_to("/etc")
    assert bench.main(spec) == EXIT_FAILED
    assert "error[AIF807]: the code can't be hashed: more is a symbolic link" in capsys.readouterr().err


def test_inputs_must_be_published_and_known(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = digest.of_text("never run")
    config = CustomConfig(call="mine:run", inputs={}, outputs={})
    missing = bench.step(Kind.CUSTOM, config, {"featurise": other})
    assert bench.main(replace(missing, code=None)) == EXIT_FAILED
    assert f"step `featurise` ({other[:10]}), which `custom` reads, is not in the store" in capsys.readouterr().err
    unknown = replace(bench.step(Kind.CUSTOM, config, {"featurise": None}), code=None)
    assert bench.main(unknown) == EXIT_FAILED
    assert "the digest of `featurise`, which `custom` reads, is not known" in capsys.readouterr().err
    waits = replace(bench.step(Kind.CUSTOM, config, {}, {"gate": None}), code=None)
    assert bench.main(waits) == EXIT_FAILED
    assert "the digest of `gate`" in capsys.readouterr().err


def test_digests_can_be_told_by_the_engine(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Below unpinned data: the step was compiled without its input's digest, and gets it from what ran before."""
    first = bench.run(_custom(bench, WRITE))
    bench.write_code(
        "mine.py", "def run(context):\n    context.outputs['o'].write_bytes(context.inputs['i'].read_bytes())\n"
    )
    config = CustomConfig(call="mine:run", inputs={"i": "featurise.out"}, outputs={"o": "txt"})
    spec = bench.step(Kind.CUSTOM, config, {"featurise": None})
    result = bench.root / "result.json"
    assert bench.main(spec, known=f"featurise={first.digest}", result=str(result)) == 0
    expected = contract.step_digest(Kind.CUSTOM, spec.own, {"featurise": first.digest})
    assert json.loads(result.read_text())["digest"] == expected
    assert bench.store.find(str(expected)).file("o.txt").read_text() == "done"
    assert bench.main(spec, known="featurise=../../etc") == EXIT_FAILED
    assert "--known has no digest for `featurise`" in capsys.readouterr().err


def test_a_digest_that_its_parts_do_not_make_is_refused(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(_custom(bench, WRITE), digest="0" * 64)
    assert bench.main(spec) == EXIT_FAILED
    assert "error[AIF800]: step `custom` says digest 0000000000, its parts make" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--step={}", "--store=x", "--run=r"],
        ["--step=not json", "--store=x", "--run=r"],
        ["--step=[]", "--store=x", "--run=r"],
        ["--step=@/no/such/file", "--store=x", "--run=r"],
        ["--nonsense"],
    ],
)
def test_arguments_that_are_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(arguments) == EXIT_FAILED
    assert "error[AIF800]" in capsys.readouterr().err


def test_a_step_of_another_contract_is_refused(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _custom(bench, WRITE)
    for changed, said in (
        (replace(spec, contract=99), "step has contract 99, this runtime reads 0 and 1"),
        (replace(spec, id="v9"), "step has identity v9, this runtime computes v1"),
    ):
        assert bench.main(changed) == EXIT_FAILED
        assert said in capsys.readouterr().err


def test_a_config_that_does_not_fit_its_kind(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _custom(bench, WRITE)
    spec = bench.step(Kind.CUSTOM, {"call": 5, "inputs": {}}, {})
    assert bench.main(spec) == EXIT_FAILED
    err = capsys.readouterr().err
    assert "error[AIF800]: the arguments of step `custom` are no CustomConfig" in err
    assert "outputs: Missing required argument" in err or "outputs: Field required" in err


def test_a_damaged_result_is_not_taken_for_done(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _custom(bench, WRITE)
    published = bench.run(spec)
    (published.path / "out.txt").write_text("do")
    assert bench.main(spec) == EXIT_FAILED
    assert "error[AIF803]: `out.txt` of step `custom`" in capsys.readouterr().err


def test_a_store_that_is_down_is_worth_a_retry(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _custom(bench, WRITE)
    assert bench.main(spec, store="/proc/aifctl-store") == EXIT_RETRY
    assert "error[AIF802]: can't start an attempt" in capsys.readouterr().err


def test_a_result_that_can_not_be_written_does_not_fail_the_step(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = _custom(bench, WRITE)
    assert bench.main(spec, result="/proc/none/result.json", events="/proc/none/events") == 0
    assert "can't write /proc/none/result.json" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_step_to_be_run_again(bench: Any, number: signal.Signals) -> None:
    started = bench.root / "started"
    spec = _custom(bench, f"import time; open({str(started)!r}, 'w').close(); time.sleep(300)")
    events = bench.root / "events.jsonl"
    process = _process(bench, spec, events=str(events))
    try:
        _wait_for(started, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == EXIT_RETRY, err
    assert "Traceback" not in err
    assert bench.store.find(spec.digest) is None
    assert json.loads(events.read_text().splitlines()[-1])["event"] == "stopped"


def test_after_a_kill_the_step_runs_again_and_keeps_nothing_of_the_first(bench: Any) -> None:
    started = bench.root / "started"
    body = (
        f"import os, time; again = os.path.exists({str(started)!r}); open({str(started)!r}, 'w').close(); "
        "(context.outputs['out'].parent / 'half').write_text('x') if not again else None; "
        f"time.sleep(0 if again else 300); {WRITE}"
    )
    spec = _custom(bench, body)
    process = _process(bench, spec)
    try:
        _wait_for(started, process)
        process.kill()
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert bench.store.find(spec.digest) is None
    assert sorted(bench.run(spec).files) == ["out.txt"]


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_two_runs_of_one_name_import_their_own_code(tmp_path: Path) -> None:
    """Packages without __init__.py and what they import: none of it may be another run's."""
    for name in ("one", "two"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "net.py").write_text("import layers\ndef build(): return layers.NAME\n")
        (tmp_path / name / "layers.py").write_text(f"NAME = {name!r}\n")
    order = ("one", "two", "one")
    assert tuple(import_attribute("model.net:build", tmp_path / name)() for name in order) == order
    first, second = (import_attribute("model.net:build", tmp_path / "one") for _ in range(2))
    assert first is second, "within a step a module is imported once"
    assert sum(path.startswith(str(tmp_path)) for path in sys.path) == 1


@pytest.mark.parametrize(
    ("name", "text", "reference", "message"),
    [
        ("m.py", "x = 1", "m:build", "`m` has no `build`"),
        ("m.py", "x = (", "m:build", "can't import `m:build`: SyntaxError: '(' was never closed"),
        ("m.py", "import nosuch", "m:build", "can't import `m:build`: ModuleNotFoundError: No module named 'nosuch'"),
        ("m.py", "raise RuntimeError('boom')", "m:build", "can't import `m:build`: RuntimeError: boom"),
        ("m.py", "import sys; sys.exit(2)", "m:build", "can't import `m:build`: SystemExit: 2"),
        ("m.py", "", "n:build", "there is no module `n`"),
        ("m.py", "", "m", "`m` names no function"),
        ("random.py", "def build(): pass", "random:build", "`random` is also a module of Python's standard library"),
    ],
)
def test_code_that_can_not_be_imported(tmp_path: Path, name: str, text: str, reference: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Report) as caught:
        import_attribute(reference, tmp_path)
    [finding] = caught.value.diagnostics
    assert finding.code == "AIF805"
    assert finding.message.startswith(message)
    assert all(str(tmp_path) not in note for note in finding.notes)


def test_a_gate_imports_no_framework(trained: Any) -> None:
    """A step pays for what it uses: a gate for NumPy at most."""
    script = (
        "import sys, aifctl.runtime.steps.gate, aifctl.runtime.entry\n"
        "print([m for m in ('torch', 'tensorflow', 'mlflow', 'pandas', 'sklearn', 'fsspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_config_survives_the_command_line(bench: Any) -> None:
    """Braces would be Argo's template tags."""
    spec = _custom(bench, WRITE, params={"template": "{{x}}", "big": 2**60, "ä": [1.5, None, True]})
    arguments = contract.to_arguments(spec, bench.site)
    assert "{{" not in arguments[0]
    decoded, site = entry._parse(arguments)
    assert (asdict(decoded), site) == (asdict(spec), bench.site)
    assert Path(site.store).is_absolute()


def findings(count: int, size: int) -> tuple[Diagnostic, ...]:
    return tuple(Diagnostic("AIF806", f"{i} é{'x' * size}", "h" * size, notes=("n" * size,) * 30) for i in range(count))


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 10), (1, 3000), (3, 500), (200, 50), (200, 3000)])
def test_a_termination_message_fits_and_says_what_matters(count: int, size: int) -> None:
    result = entry.Result(digest="a" * 64, outputs={"big": "y" * 9000}, diagnostics=findings(count, size))
    text = result.brief()
    assert len(text.encode()) <= contract.MESSAGE_LIMIT
    told = json.loads(text)
    assert told["digest"] == "a" * 64
    assert bool(told["diagnostics"]) == bool(count)
    assert all(finding["code"] == "AIF806" for finding in told["diagnostics"])


def test_a_termination_message_keeps_what_has_room() -> None:
    told = json.loads(entry.Result(digest=None, diagnostics=findings(1, 20)).brief())
    assert len(told["diagnostics"][0]["notes"]) == 30


def test_a_step_reports_as_a_container_does(bench: Any, tmp_path: Path) -> None:
    """Its message is written in place: the kubelet has mounted the file, which can't be replaced."""
    message = tmp_path / "termination-log"
    message.touch()
    before = message.stat().st_ino
    process = _process(bench, _custom(bench, WRITE), message=str(message), events="-")
    printed, _ = process.communicate(timeout=60)
    told = json.loads(message.read_text())
    assert (process.returncode, told["skipped"], told["diagnostics"]) == (0, False, [])
    assert message.stat().st_ino == before
    events = [json.loads(line)["event"] for line in printed.splitlines() if line.startswith("{")]
    assert events == ["started", "finished"]
    assert not Path("-").exists()
