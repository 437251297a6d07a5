"""`--debug STEP`: one step in this process, on what the run has left, so that a debugger's breakpoints hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aifctl import ir
from aifctl.contract import Kind, StepSpec
from aifctl.diagnostics import Report
from aifctl.runtime import debugging, entry
from aifctl.runtime.execution import LocalSite, step_site
from aifctl.runtime.store import Published, Store
from tests.runtime.bench import Bench

Trained = tuple[Bench, Published, Published]


def step(spec: StepSpec, **variables: str) -> ir.Step:
    listed = tuple(ir.Variable(name=name, value=value) for name, value in variables.items())
    resources = ir.Resources(cpu=1, memory=1 << 30)
    return ir.Step(spec=spec, parts={}, image=None, resources=resources, variables=listed)


def run_of(*steps: ir.Step) -> ir.Run:
    return ir.Run(name="digits-1", digest=64 * "1", attempt=1, steps=steps)


def site(bench: Bench) -> LocalSite:
    return LocalSite(store=Path(bench.site.store), code=bench.code, data=bench.data)


@pytest.fixture
def two_steps(bench: Bench) -> tuple[Bench, ir.Run]:
    """Data, and an own step that reads it."""
    from aifctl import contract
    from tests.runtime.bench import DIGITS

    bench.write_code("own.py", "def call(context):\n    1 / 0\n")
    prepare = bench.step(Kind.PREPARE, DIGITS, {"data:digits": bench.pin()})
    config = contract.CustomConfig(call="own:call", inputs={"table": "prepare"}, outputs={"out": "csv"})
    own = bench.step(Kind.CUSTOM, config, {"prepare": prepare.digest})
    return bench, run_of(step(prepare), step(own, OMP_NUM_THREADS="3"))


def test_what_user_code_raises_comes_through_as_it_is(two_steps: tuple[Bench, ir.Run]) -> None:
    """A debugger stops where it was raised; a diagnostic would have ended the stack."""
    bench, run = two_steps
    debugging.run(run, site(bench), "prepare")
    with pytest.raises(ZeroDivisionError) as caught:
        debugging.run(run, site(bench), "custom")
    assert caught.traceback[-1].path == bench.code / "own.py"
    assert Store(bench.site.store).find(str(run.steps[1].spec.digest)) is None


def test_variables_of_the_step_are_set(two_steps: tuple[Bench, ir.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    bench, run = two_steps
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    debugging.run(run, site(bench), "prepare")
    with pytest.raises(ZeroDivisionError):
        debugging.run(run, site(bench), "custom")
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_step_whose_inputs_are_not_done(two_steps: tuple[Bench, ir.Run]) -> None:
    bench, run = two_steps
    with pytest.raises(Report) as caught:
        debugging.run(run, site(bench), "custom")
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("AIF854", "step `custom` reads `prepare`, which is not done")


def test_an_unknown_step(two_steps: tuple[Bench, ir.Run]) -> None:
    bench, run = two_steps
    with pytest.raises(Report) as caught:
        debugging.run(run, site(bench), "train")
    (found,) = caught.value.diagnostics
    assert (found.code, found.hint) == ("AIF854", "its steps are `prepare`, `custom`")


def test_a_step_that_was_not_done_is_published(two_steps: tuple[Bench, ir.Run]) -> None:
    bench, run = two_steps
    result = debugging.run(run, site(bench), "prepare")
    assert not result.skipped
    published = Store(bench.site.store).find(str(result.digest))
    assert published is not None
    assert published.outputs["rows"] == result.outputs["rows"] == 1797


class TestDoneAlready:
    def test_it_runs_again_and_the_result_is_thrown_away(self, two_steps: tuple[Bench, ir.Run]) -> None:
        bench, run = two_steps
        debugging.run(run, site(bench), "prepare")
        folder = Path(bench.site.store, "steps", str(run.steps[0].spec.digest))
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        again = debugging.run(run, site(bench), "prepare")
        assert not again.skipped
        assert again.outputs["rows"] == 1797
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert len(list((folder / "attempts").iterdir())) == 1

    def test_a_training_starts_anew_instead_of_at_its_end(
        self, bench: Bench, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Its last checkpoint would leave nothing to step through. (The training loop is shown in tests/e2e_local.)"""
        prepared = bench.prepare()
        trained = bench.train(prepared)
        config = {**trained.about["config"]}
        spec = bench.step(Kind.TRAIN, config, {"prepare": prepared.digest})
        assert spec.digest == trained.digest
        kept = Store(bench.site.store).checkpoints(trained.digest)
        (kept / "mine").write_text("a checkpoint")
        prepare = bench.step(Kind.PREPARE, dict(prepared.about["config"]), {"data:digits": bench.pin()})
        result = debugging.run(run_of(step(prepare), step(spec)), site(bench), "train")
        assert result.digest == trained.digest
        assert [path.name for path in kept.iterdir()] == ["mine"]


def test_the_store_that_is_given_is_used(bench: Bench, tmp_path: Path) -> None:
    """`execute(store=…)` reads and writes there, and not in the site's."""
    from tests.runtime.bench import DIGITS

    spec = bench.step(Kind.PREPARE, DIGITS, {"data:digits": bench.pin()})
    other = Store(tmp_path / "other")
    entry.execute(spec, step_site(site(bench), "local-x", "a1"), store=other)
    assert other.find(str(spec.digest)) is not None
    assert bench.store.find(str(spec.digest)) is None
