"""Whatever is typed: a short error that names it, and no traceback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.world import make_pictures

from diffuprompt.cli import main as front
from diffuprompt.learners import find_method, find_preset

NUL, LONG, BYTES = "a\0b", "n" * 5000, "a\udcff"
ESCAPE = "a\x1b[2J\u202eb"
TEXTS = {"nul": NUL, "long": LONG, "bytes": BYTES, "escape": ESCAPE, "empty": ""}
PLACES: dict[str, list[str]] = {
    "train --data": ["train", "--data", "{}", "--dry-run"],
    "train --data-root": ["train", "--data", "scenes", "--data-root", "{}/x", "--shots", "0"],
    "train --config": ["train", "--data", "x", "--config", "{}"],
    "train --backbone": ["train", "--data", "none-such", "--backbone", "{}", "--dry-run"],
    "train --learner": ["train", "--data", "scenes", "--learner", "{}"],
    "train --generator": ["train", "--data", "scenes", "--generator", "{}"],
    "train --protocol": ["train", "--data", "scenes", "--protocol", "{}"],
    "train --preset": ["train", "--data", "scenes", "--preset", "{}"],
    "train --device": ["train", "--data", "scenes", "--device", "{}"],
    "train --set": ["train", "--data", "scenes", "--set", "{}"],
    "train --set value": ["train", "--data", "scenes", "--set", "lr={}"],
    "train --shots": ["train", "--data", "scenes", "--shots", "{}"],
    "train unknown": ["train", "--{}"],
    "evaluate": ["evaluate", "{}"],
    "evaluate --controls": ["evaluate", "x", "--controls", "{}"],
    "report": ["report", "{}"],
    "report --format": ["report", "x", "--format", "{}"],
    "predict": ["predict", "{}", "--classes", "a,b"],
    "data verify": ["data", "verify", "{}"],
    "import": ["import", "{}", "--learner", "coop", "--classes", "a,b"],
    "ls kind": ["ls", "{}"],
    "show presets": ["show", "presets", "{}"],
    "cp presets": ["cp", "presets", "{}"],
    "cp presets file": ["cp", "presets", "coop/lite", "{}/x.toml"],
    "verb": ["{}"],
}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that cannot be right and return what it said."""
    start = time.monotonic()
    code = front.main(words)
    captured = capsys.readouterr()
    said = captured.err + captured.out
    assert 0 < code <= 5, said
    assert "Traceback" not in said
    assert "fault of diffuprompt" not in said
    assert not set(said) & set("\x1b\u202e\0\x9b"), ascii(said)
    assert len(said) < 20_000
    assert time.monotonic() - start < 20
    return said


@pytest.mark.parametrize("text", list(TEXTS))
@pytest.mark.parametrize("place", list(PLACES))
def test_no_text_ends_in_a_traceback(
    place: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("{}", TEXTS[text]) for word in PLACES[place]]
    if place == "cp presets file" and text == "empty":
        words[-1] = "."
    refused(words, capsys)


@pytest.mark.parametrize(
    "device", ["meta", "nonsense", "cuda:99x", "cpu:-1", "cuda:", "CPU", "xla"]
)
def test_a_device_that_computes_nothing_is_refused(
    device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["train", "--data", "scenes", "--device", device], capsys)
    assert "device: expected auto, cpu, cuda, cuda:N or mps" in said


@pytest.mark.parametrize(
    "number", ["0", "-1", "1000000000", "9" * 400, "9" * 5000, "1e9", "nan", "true"]
)
@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "scenes", "--shots"],
        ["train", "--data", "scenes", "--text-memory-mib"],
        ["predict", "x.jpg", "--top"],
        ["predict", "x.jpg", "--samples"],
        ["predict", "x.jpg", "--batch-size"],
        ["evaluate", "x", "--samples"],
        ["evaluate", "x", "--nfe"],
        ["study", "base-to-new", "--data", "scenes", "--threads"],
    ],
)
def test_numbers_outside_their_range_name_the_option(
    words: list[str], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words[-1] in refused([*words, number], capsys)


@pytest.mark.parametrize(
    "verb", ["train", "predict", "evaluate", "study base-to-new", "study plug-in"]
)
def test_help_shows_the_ranges(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main([*verb.split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "from 1 to 1000" in shown


def test_a_name_for_what_nothing_changes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It would rename the main rows; what changes something may have a name."""
    line = ["study", "base-to-new", "--data", "scenes", "--learners", "coop", "--dry-run"]
    said = refused([*line, "--setting", "slow"], capsys)
    assert "--setting slow: nothing is changed that it could name (see --set)" in said
    for change in (["--set", "epochs=2"], ["--precision", "bf16"], ["--precision", "fp32"]):
        assert front.main([*line, "--setting", "slow", *change]) == 0
    line = ["ground", "study", "--worlds", "scenes", "--methods", "coop", "--dry-run"]
    assert "--setting slow: nothing is changed" in refused([*line, "--setting", "slow"], capsys)
    assert front.main([*line, "--setting", "slow", "--set", "fit.steps=2"]) == 0


def test_two_values_for_one_key_are_no_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["train", "--data", "scenes", "--shots", "0"]
    for first, second in (("lr=1", "lr=2"), ("lr=1", "train.lr=2"), ("nfe=1", "nfe=2")):
        said = refused([*start, "--set", first, "--set", second], capsys)
        assert "given twice" in said
    assert "given twice" not in refused([*start, "--set", "lr=1", "--set", "lr=1"], capsys)
    # the command line still wins over a file
    (tmp_path / "x.toml").write_text("[set]\nlr = 1\n")
    line = ["train", "--data", "none-such", "--config", "x.toml", "--set", "lr=2"]
    assert "given twice" not in refused(line, capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shots = true", "shots: got True, expected a whole number from 1"),
        ("shots = '4'", "shots: got '4', expected a whole number"),
        ("shots = 1979-05-27", "shots: got datetime.date(1979, 5, 27)"),
        ("shots = 1e400", "not finite"),
        ("shots = 99999999999999999999", "expected a whole number from 1 to 1000000"),
        ("seed = -1", "seed: got -1"),
        ("learner = ['a']", "learner: got ['a'], expected text"),
        ("set = [1]", "set: got [1], expected a list"),
        ("set = 'lr'", "expected KEY=VALUE"),
        ("set = {lr = 1979-05-27}", "train.lr: got '1979-05-27', expected a number"),
        ("set = {train = {lr = -1}}", "train.lr: got -1"),
        ("set = {a.b.c.d = 1}", "unknown key"),
        ("out = 3", "out: got 3, expected a path"),
        ("rehash = 1", "rehash: got 1, expected true or false"),
        ('data = "a\\u0000b"', "data: got 'a\\x00b'"),
        ("[data]\nx = 1", "data: got {'x': 1}, expected text"),
        ("[[set]]\nlr = 1", "set: got"),
        (".".join("a" * 100_000) + " = 1", "more than 64 parts"),
        ("shots = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_whatever_toml_gives_is_checked(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.toml").write_text(text)
    line = ["train", "--config", "x.toml"]
    line += [] if "data" in text else ["--data", "scenes"]
    assert said in refused(line, capsys)


def test_a_config_that_is_no_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.toml").write_bytes(b'data = "caf\xe9"\n')
    for name in ("folder", "latin.toml", "absent.toml"):
        assert name in refused(["train", "--config", name], capsys)


@pytest.mark.parametrize("option", ["--runs-dir", "--out"])
def test_a_file_in_the_place_of_a_folder_is_named(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    make_pictures(tmp_path / "colours", splits=("train", "test"))
    words = ["train", "--data", "colours", "--backbone", "scenes-clip", "--shots", "1"]
    said = refused([*words, option, "taken", "--set", "epochs=0"], capsys)
    assert "taken" in said


@pytest.mark.parametrize(
    "content", ["[]", "null", "{", "[" * 100_000, '{"resolved": []}', "\ud800"]
)
def test_ls_shows_a_broken_run(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "broken"
    run.mkdir(parents=True)
    (run / "run.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    assert front.main(["ls", "runs"]) == 0
    assert "broken" in capsys.readouterr().out


def test_cp_never_writes_over_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.toml").write_text("mine")
    for place in ("folder", "file.toml"):
        assert place in refused(["cp", "presets", "coop/lite", place], capsys)
    assert (tmp_path / "file.toml").read_text() == "mine"


@pytest.mark.parametrize("kind", ["empty", "file", "absent", "folder called record.json"])
def test_report_of_nothing_names_it(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("no record")
    elif kind != "absent":
        (place / "record.json" if "folder" in kind else place).mkdir(parents=True)
    assert "place" in refused(["report", str(place), "--out", str(tmp_path / "out")], capsys)


def test_listings_show_the_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["show", "presets", "coop/base-to-new"]) == 0
    shown = capsys.readouterr().out
    assert '"train.batch" = 32  # a whole number from 1 to 65536' in shown
    assert '"learner.num_ctx" = 4  # a whole number from 1 to 1024' in shown
    assert "true or false" in shown
    assert front.main(["ls", "learners", "coop"]) == 0
    assert "num_ctx (from 1 to 1024)" in " ".join(capsys.readouterr().out.split())
    assert front.main(["ls", "generators", "vae"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "rival.latent (from 1 to 65536)" in shown
    assert "fit.ema (from 0 to below 1)" in shown


def test_a_recipe_with_its_ranges_still_trains(tmp_path: Path) -> None:
    from diffuprompt.cli.parse import parse
    from diffuprompt.cli.train import Args, job

    assert front.main(["cp", "presets", "coop/lite", "mine.toml"]) == 0
    found = job(parse(Args, ["--config", "mine.toml", "--data", "scenes"], prog="train"))
    assert found.overrides
    assert find_preset("coop", "lite").train.epochs == 50
    assert find_method("coop")
