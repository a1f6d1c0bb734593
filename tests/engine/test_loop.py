"""The loop: resumes bit for bit, guards before the update, saves on SIGTERM."""

import json
import os
import signal
import threading
from dataclasses import replace

import pytest
import torch
from tests.accelerator import DEVICE, accelerator
from tests.engine.task import Regression
from torch import nn

from diffuprompt.engine import loop
from diffuprompt.engine.files import load_state, save_state
from diffuprompt.engine.loop import STATE_FILE, train
from diffuprompt.engine.metrics import MetricsFile
from diffuprompt.engine.optim import Optimiser
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import CheckpointError, TrainingError

SGD = Optimiser(lr=0.05)
ADAMW = Optimiser(kind="adamw", lr=0.05, schedule="cosine", warmup_steps=3, clip_norm=0.5)


class Stopped(Exception):
    """Raised inside a loss to stand for an interruption."""


def interrupt_at(epoch, step):
    def hook(*at):
        if at == (epoch, step):
            raise Stopped

    return hook


def run(task, optimiser=SGD, folder=None, **kwargs):
    kwargs = {"epochs": 2, "steps_per_epoch": 5, "save_every_s": 0.0, **kwargs}
    return train(task, optimiser, folder=folder, **kwargs)


@pytest.mark.parametrize("optimiser", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("at", [(0, 0), (0, 3), (1, 0), (1, 4)])
def test_resume_is_bit_for_bit(tmp_path, optimiser, at):
    whole, first, second = Regression(), Regression(hook=interrupt_at(*at)), Regression()
    expected = run(whole, optimiser)
    with pytest.raises(Stopped):
        run(first, optimiser, tmp_path)
    result = run(second, optimiser, tmp_path)
    assert second.seen[0] == at
    assert second.bytes() == whole.bytes()
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}


def test_a_finished_run_is_only_loaded(tmp_path):
    first, second = Regression(), Regression()
    result = run(first, folder=tmp_path)
    assert run(second, folder=tmp_path) == result
    assert second.seen == []
    assert second.bytes() == first.bytes()


def test_a_training_of_before_eps_could_be_chosen_goes_on(tmp_path):
    """Its plan does not name what was the only value."""
    first, second = Regression(hook=interrupt_at(1, 0)), Regression()
    with pytest.raises(Stopped):
        run(first, ADAMW, tmp_path)
    assert "eps" not in load_state(tmp_path / STATE_FILE)["plan"]["optimiser"]
    with pytest.raises(CheckpointError, match="eps"):
        run(second, replace(ADAMW, eps=1e-4), tmp_path)
    run(second, ADAMW, tmp_path)
    assert second.seen[0] == (1, 0)


def test_training_fits_and_reports_the_last_epoch():
    task = Regression()
    result = run(task, ADAMW, epochs=20)
    assert result["loss"] < 0.1 * Regression().loss(0, 0)["loss"]
    assert result["steps"] == 100
    assert task.epochs_done == 20


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": "b"}, {"epochs": 3}, {"steps_per_epoch": 4}, {"optimiser": ADAMW}],
    ids=lambda change: next(iter(change)),
)
def test_another_run_is_refused(tmp_path, change):
    run(Regression(), folder=tmp_path, fingerprint="a")
    with pytest.raises(CheckpointError, match=next(iter(change))):
        run(Regression(), **{"folder": tmp_path, "fingerprint": "a", **change})


def test_non_finite_loss_stops_before_the_update(tmp_path):
    reference, task = Regression(), Regression(fail_at=(1, 2))
    with pytest.raises(TrainingError, match=r"epoch 1, step 2 .*'extra' is nan"):
        run(task, folder=tmp_path / "nan")
    reference.hook = interrupt_at(1, 2)
    with pytest.raises(Stopped):
        run(reference)
    assert task.bytes() == reference.bytes()


def test_non_finite_gradient_stops_before_the_update():
    class Root(Regression):
        def loss(self, epoch, step):
            return {"loss": (self.bias.abs() ** 0.5).sum()}  # 0 with an infinite slope at 0

    task = Root()
    with pytest.raises(TrainingError, match="gradient 'norm' is nan"):
        run(task)
    assert torch.equal(task.bias, torch.zeros(3))


def test_loss_term_is_required():
    class Nameless(Regression):
        def loss(self, epoch, step):
            return {"ce": self.bias.sum()}

    with pytest.raises(TrainingError, match=r"\['ce'\]"):
        run(Nameless())


def test_clip_norm_bounds_the_step():
    plain, clipped = Regression(), Regression()
    start = plain.weight.detach().clone()
    one = Optimiser(lr=1.0, momentum=0, weight_decay=0, schedule="constant")
    run(plain, one, epochs=1, steps_per_epoch=1)
    limited = Optimiser(lr=1.0, momentum=0, weight_decay=0, schedule="constant", clip_norm=0.01)
    run(clipped, limited, epochs=1, steps_per_epoch=1)

    @torch.no_grad()
    def length(task):
        return torch.cat([(task.weight - start).flatten(), task.bias]).norm()

    assert length(plain) > 0.1
    assert length(clipped) == pytest.approx(0.01, rel=1e-4)  # clipping adds 1e-6 to the norm


def read_metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_cut_to_the_resumed_step(tmp_path, monkeypatch):
    monkeypatch.setattr("diffuprompt.engine.metrics.MIN_GAP_S", 0.0)
    with pytest.raises(Stopped):  # saved only at the end, so nothing is: the lines are ahead
        run(Regression(hook=interrupt_at(1, 1)), folder=tmp_path, save_every_s=1e9)
    assert len(read_metrics(tmp_path)) == 6
    with pytest.raises(Stopped):
        run(Regression(hook=interrupt_at(0, 4)), folder=tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"at": 4, "half')  # a line that a kill cut
    run(Regression(), folder=tmp_path)
    lines = read_metrics(tmp_path)
    assert [(m["at"], m["epoch"], m["step"]) for m in lines] == [
        (at, *divmod(at, 5)) for at in range(10)
    ]
    assert [m["lr"] for m in lines] == [1e-5] * 5 + [0.05] * 5
    assert set(lines[0]) == {"at", "epoch", "step", "lr", "loss", "extra"}


def test_at_most_ten_lines_a_second(tmp_path):
    result = run(Regression(), folder=tmp_path, epochs=20, save_every_s=1e9)
    assert 1 <= len(read_metrics(tmp_path)) <= 10 * result["seconds"] + 2


def test_sigterm_saves_within_a_step_and_exits_143(tmp_path):
    calls = []
    ours = signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
    try:

        def hook(*at):
            if at == (0, 3):
                os.kill(os.getpid(), signal.SIGTERM)

        task, whole, resumed = Regression(hook=hook), Regression(), Regression()
        with pytest.raises(SystemExit) as stop:
            run(task, folder=tmp_path, save_every_s=1e9)
        assert stop.value.code == 143
        assert task.seen[-1] == (0, 3)
        assert calls == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert calls == [1]  # the handler from before is back
    finally:
        signal.signal(signal.SIGTERM, ours)
    run(whole)
    run(resumed, folder=tmp_path)
    assert resumed.seen[0] == (0, 4)
    assert resumed.bytes() == whole.bytes()


def test_other_threads_train_without_a_handler(tmp_path):
    before, seen = signal.getsignal(signal.SIGTERM), []
    task = Regression(hook=lambda *_: seen.append(signal.getsignal(signal.SIGTERM)))
    thread = threading.Thread(target=run, args=(task,), kwargs={"folder": tmp_path})
    thread.start()
    thread.join()
    assert task.epochs_done == 2
    assert set(seen) == {before}


def test_without_a_folder_the_handler_stays():
    before, seen = signal.getsignal(signal.SIGTERM), []
    run(Regression(hook=lambda *_: seen.append(signal.getsignal(signal.SIGTERM))))
    assert set(seen) == {before}


def test_progress_is_advanced_with_the_terms(tmp_path):
    class Recorder:
        def task(self, label, *, total):
            self.opened, self.steps = (label, total), []
            return self

        def advance(self, n=1, **stats):
            self.steps.append((n, stats))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    recorder = Recorder()
    with pytest.raises(Stopped):
        run(Regression(hook=interrupt_at(0, 4)), folder=tmp_path, progress=recorder, label="CoOp")
    assert recorder.opened == ("CoOp", 10)
    run(Regression(), folder=tmp_path, progress=recorder, label="CoOp")
    assert recorder.opened == ("CoOp (from step 4)", 6)
    assert [n for n, _ in recorder.steps] == [1] * 6
    assert set(recorder.steps[0][1]) == {"loss", "extra"}


class Far(Regression):
    """The same task on an accelerator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.weight, self.bias = (nn.Parameter(p.detach().to(DEVICE)) for p in self.parameters())
        self.ema = self.ema.to(DEVICE)

    def load_state(self, state):
        super().load_state({**state, "ema": state["ema"].to(DEVICE)})

    def loss(self, epoch, step):
        self.seen.append((epoch, step))
        if self.hook is not None:
            self.hook(epoch, step)
        x = torch.randn(8, 5, generator=torch_stream(7, epoch, step)).to(DEVICE)
        fit = (x @ self.weight + self.bias - x[:, :3]).square().mean()
        extra = fit.detach() * (float("nan") if (epoch, step) == self.fail_at else 1)
        return {"loss": fit + 0 * extra, "extra": extra}


def test_on_an_accelerator_no_step_waits_and_means_are_the_same(monkeypatch):
    monkeypatch.setattr("diffuprompt.engine.guard.MIN_GAP_S", 1e9)
    near = run(Regression(), ADAMW, epochs=3, steps_per_epoch=7)
    with accelerator() as found:
        far = run(Far(), ADAMW, epochs=3, steps_per_epoch=7)
        assert +found.waits == {"a copy to the host": 1}  # at the end, for 21 steps
    assert far["loss"] == pytest.approx(near["loss"], rel=1e-5)
    assert far["extra"] == pytest.approx(near["extra"], rel=1e-5)


def test_on_an_accelerator_a_broken_state_is_never_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("diffuprompt.engine.guard.MIN_GAP_S", 1e9)
    saved = []
    real = loop.save_state
    monkeypatch.setattr(loop, "save_state", lambda *args: (saved.append(args), real(*args)))
    with accelerator():
        task = Far(fail_at=(1, 2))
        with pytest.raises(TrainingError, match=r"epoch 1, step 2 .*'loss' is nan; .*'extra' is n"):
            run(task, folder=tmp_path, save_every_s=1e9)
        assert task.seen[-1] == (1, 4)  # only now was a number needed: it was to be saved
        assert saved == []
        with pytest.raises(TrainingError, match="epoch 1, step 2"):
            run(Far(fail_at=(1, 2)), folder=tmp_path, save_every_s=0.0)
        assert len(saved) == 7  # of the steps before
        again = Far()
        run(again, folder=tmp_path)
        assert again.seen == [(1, 2), (1, 3), (1, 4)]
        assert bool(again.weight.isfinite().all())


def test_on_an_accelerator_numbers_are_shown_ten_times_a_second(monkeypatch):
    now, shown = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class Recorder:
        def task(self, label, *, total):
            return self

        def advance(self, n=1, **stats):
            shown.append(sorted(stats))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    with accelerator():
        run(Far(hook=lambda *_: now.append(now.pop() + 0.04)), progress=Recorder())
    assert len(shown) == 10
    assert [at for at, names in enumerate(shown) if names] == [2, 5, 8, 9]  # the last one too


@pytest.mark.parametrize(
    "line",
    [
        b"[]", b"null", b"{}", b'{"at": null}', b'{"at": "x"}', b'{"at": 1e999}', b"[" * 100_000,
        b'{"at": []}', b"\xff", b'{"at": 1, "at": 1}', b"{",
    ],
)  # fmt: skip
def test_a_log_of_any_other_kind_is_refused_by_name(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl"):
        MetricsFile(path, keep=5)


@pytest.mark.parametrize(
    "change",
    [
        {"step": None}, {"step": "x"}, {"sums": 3}, {"counted": []}, {"seconds": {}}, {"task": 1},
        {"task": {}}, {"optimizer": 1}, {"plan": 1},
    ],
)  # fmt: skip
def test_a_state_of_any_other_kind_is_refused_by_name(tmp_path, change):
    run(Regression(), folder=tmp_path)
    path = tmp_path / "state.pt"
    save_state(path, {**load_state(path), **change})
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        run(Regression(), folder=tmp_path)
