import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from foveate import cli
from foveate.cli import main
from foveate.cohort.samples import read_samples
from foveate.digits.command import TASK_NAMES
from foveate.digits.tasks import TASKS

DEFAULT = Path(__file__).parents[1] / "config" / "config.yaml"
COMMANDS = ("samples", "overview", "train", "predict", "compare", "stage", "report", "view", "export", "digits")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the default configuration in its place, as the current one."""
    (tmp_path / "config").mkdir()
    shutil.copy(DEFAULT, tmp_path / "config" / "config.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that ends with status 1; what it says."""
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"foveate {arguments[0]}: ")
    return said.err


def sheet(*rows: str) -> None:
    Path("config/samples.tsv").write_text("\n".join(["slide\tpatient\tpath\tlabel\tsplit\texclude", *rows]) + "\n")


def test_the_installed_command_has_help_and_lists_its_commands() -> None:
    command = Path(sys.executable).with_name("foveate")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert all(f"    {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: foveate {command}")
    assert "--quiet" in said


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no_command"],
        ["samples"],
        ["samples", "--demo", "a", "--camelyon16", "b"],
        ["train", "--fold"],
        ["samples", "--camelyon17", "a", "--seed", "-1"],
        ["digits", "mnist28", "--seed", "-1"],
        ["digits", "mnist28", "--seed", "4294967296"],
    ],
)
def test_wrong_usage_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: foveate" in capsys.readouterr().err


def test_what_needs_no_model_loads_none() -> None:
    code = (
        "import sys; from foveate import cli; from foveate.stages import export, overview, patients, report, slides\n"
        "cli.parser(); sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_samples_of_the_demo(work: Path) -> None:
    assert main(["samples", "--demo", "config/config.yaml"]) == 0
    samples = read_samples(work / "config" / "samples.tsv", made=Path("data/demo"))
    assert len(samples) == 36 * 5
    assert samples[0].path == Path("data/demo/images") / f"{samples[0].slide}.tif"
    assert {s.split for s in samples} == {"train", "val", "test"}
    assert {s.label for s in samples} == {"negative", "itc", "micro", "macro"}
    assert {s.patient_label for s in samples} == {"pN0", "pN0(i+)", "pN1mi", "pN1", "pN2"}


def test_the_sheet_of_the_repository_is_the_demo_s(work: Path) -> None:
    assert main(["samples", "--demo", "config/config.yaml", "--out", "demo.tsv"]) == 0
    assert Path("demo.tsv").read_text() == DEFAULT.with_name("samples.tsv").read_text()


def test_samples_of_camelyon17(work: Path) -> None:
    for name in ("patient_004_node_0", "patient_004_node_1", "patient_021_node_0"):
        (work / "cohort" / "images" / f"{name}.tif").parent.mkdir(parents=True, exist_ok=True)
        (work / "cohort" / "images" / f"{name}.tif").touch()
    (work / "cohort" / "stage_labels.csv").write_text(
        "patient,stage\npatient_004.zip,pN0(i+)\npatient_004_node_0.tif,negative\npatient_004_node_1.tif,itc\n"
    )
    assert main(["samples", "--camelyon17", "cohort", "--out", "c17.tsv"]) == 0
    samples = read_samples(Path("c17.tsv"))
    assert [(s.slide, s.label, s.patient_label) for s in samples] == [
        ("patient_004_node_0", "negative", "pN0(i+)"),
        ("patient_004_node_1", "itc", "pN0(i+)"),
        ("patient_021_node_0", "", ""),
    ]


def test_the_shares_of_a_sheet(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"patient_{n:03d}_node_0" for n in range(20)]
    (work / "cohort" / "images").mkdir(parents=True)
    for name in names:
        (work / "cohort" / "images" / f"{name}.tif").touch()
    (work / "cohort" / "stage_labels.csv").write_text(
        "patient,stage\n" + "".join(f"{name}.tif,negative\n" for name in names)
    )

    def splits(*options: str) -> list[str]:
        assert main(["samples", "--camelyon17", "cohort", "--out", "c17.tsv", "--force", *options]) == 0
        return [s.split for s in read_samples(Path("c17.tsv"))]

    assert Counter(splits()) == {"train": 11, "val": 3, "test": 6}
    assert Counter(splits("--test", "0.5", "--val", "0.1")) == {"train": 8, "val": 2, "test": 10}
    assert splits("--seed", "0") == splits() != splits("--seed", "1")
    shares = ("samples", "--camelyon17", "cohort", "--out", "other.tsv", "--test", "0.9", "--val", "0.2")
    assert "test 0.9 and val 0.2: expected shares" in failed(capsys, *shares)
    assert "test nan and val 0.15" in failed(capsys, *shares[:6], "nan")
    for source, option in (("--demo", "--val"), ("--camelyon16", "--test")):
        said = failed(capsys, "samples", source, "config/config.yaml", "--out", "other.tsv", option, "0.1")
        assert f"{option}: " in said and "says itself" in said
    assert not Path("other.tsv").exists()


def test_samples_of_camelyon16(work: Path) -> None:
    for name in ("training/normal/normal_001.tif", "testing/images/test_001.tif"):
        (work / "cohort" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "cohort" / name).touch()
    (work / "cohort" / "testing" / "reference.csv").write_text("test_001,Tumor,IDC,Macro\n")
    assert main(["samples", "--camelyon16", "cohort", "--out", "c16.tsv"]) == 0
    assert {(s.slide, s.label) for s in read_samples(Path("c16.tsv"))} == {
        ("normal_001", "negative"),
        ("test_001", "macro"),
    }


def test_a_sheet_is_not_overwritten_unless_forced(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet("mine\tp\tx.tif\t\t\t")
    mine = Path("config/samples.tsv").read_text()
    assert "--force replaces it" in failed(capsys, "samples", "--demo", "config/config.yaml")
    assert Path("config/samples.tsv").read_text() == mine
    assert main(["samples", "--demo", "config/config.yaml", "--force"]) == 0
    assert Path("config/samples.tsv").read_text() != mine


def test_a_folder_without_slides(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in failed(capsys, "samples", "--camelyon17", "nowhere")
    assert "no slide like" in failed(capsys, "samples", "--camelyon16", ".")
    assert not Path("config/samples.tsv").exists()


def test_the_overview_of_good_and_bad_slides(work: Path, tiny_slide: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.tif").write_bytes(b"no slide")
    sheet(f"good\tp0\t{tiny_slide.path}\tmacro\ttest\t", "bad\tp1\tbad.tif\t\t\t", "gone\tp1\tgone.tif\t\t\tlost")
    assert main(["overview", "--quiet", "--results", "out"]) == 1
    assert sorted(path.name for path in Path("out/status").iterdir()) == ["bad.json", "good.json"]
    assert main(["overview", "--quiet", "--results", "one", "good"]) == 0
    assert [path.name for path in Path("one/overview").iterdir()] == ["good.h5"]
    said = failed(capsys, "overview", "good", "gone", "goood")
    assert "config/samples.tsv: no slide gone, goood that is not excluded" in said
    assert not Path("results").exists()


def test_the_export_of_one_slide(
    work: Path, tiny_slide: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        shutil.copy(tiny_slide.path, f"{name}.tif")
    sheet(*(f"{name}\t{name}\t{name}.tif\t\ttest\t" for name in "ab"))
    assert main(["overview", "--quiet"]) == 0
    assert main(["export", "--quiet", "b"]) == 0
    assert "results/predictions/split/all.h5 does not exist; of slides in no other file only tissue" in caplog.text
    assert {path.name for path in Path("results/export").iterdir()} == {"b.geojson", "b.xml"}
    assert "config/samples.tsv: no slide c that is not excluded" in failed(capsys, "export", "c")


@pytest.mark.parametrize("command", ["train", "predict", "compare"])
def test_an_unknown_fold(work: Path, tiny_slide: Any, capsys: pytest.CaptureFixture[str], command: str) -> None:
    sheet(f"a\tp\t{tiny_slide.path}\tmacro\ttrain\t")
    assert "no fold '7'; the sheet has split" in failed(capsys, command, "--fold", "7")


def test_stages_before_their_time(work: Path, tiny_slide: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train0", "train1", "test0"):
        shutil.copy(tiny_slide.path, f"{name}.tif")
    sheet(*(f"{name}\t{name}\t{name}.tif\tmacro\t{name[:-1]}\t" for name in ("train0", "train1", "test0")))
    assert "results/status/train0.json: cannot be read" in failed(capsys, "stage")
    assert "results/overview/train0.h5 does not exist" in failed(capsys, "train")
    assert "results/overview/test0.h5 does not exist" in failed(capsys, "predict")
    assert "results/train/split/model.keras does not exist" in failed(capsys, "compare")
    assert "results/predictions/slides.tsv" in failed(capsys, "report")
    assert "results/overview/train0.h5 does not exist; make the overviews first" in failed(capsys, "export")


def test_nothing_to_train_with_given_weights(work: Path, tiny_slide: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sheet(f"a\tp\t{tiny_slide.path}\tmacro\ttrain\t")
    Path("given.yaml").write_text("predict: {weights: my.keras}\n")
    said = failed(capsys, "train", "--config", "config/config.yaml", "given.yaml")
    assert "predict.weights names my.keras" in said


def test_all_faults_of_the_configuration_and_the_sheet_are_said(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet("a\tp\tgone.tif\tmakro\t\t", "b b\tp\tgone.tif\t\t\t")
    said = failed(capsys, "overview")
    assert "config/samples.tsv:2: label: 'makro'" in said
    assert "config/samples.tsv:3: slide: 'b b'" in said
    values = yaml.safe_load(DEFAULT.read_text())
    values["train"]["epoch"] = 1
    Path("config/config.yaml").write_text(yaml.safe_dump(values))
    assert "config/config.yaml: train.epoch: no such key" in failed(capsys, "overview")
    assert "config/other.yaml: cannot be read" in failed(capsys, "overview", "--config", "config/other.yaml")


def test_an_error_of_the_installed_command_has_no_traceback(work: Path) -> None:
    command = Path(sys.executable).with_name("foveate")
    done = subprocess.run(
        [command, "overview"], capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"}
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("foveate overview: config/samples.tsv: cannot be read")
    assert "Traceback" not in done.stderr


def test_log_lines_where_there_is_no_terminal(work: Path, tiny_slide: Any) -> None:
    command = Path(sys.executable).with_name("foveate")
    loud, quiet = (
        subprocess.run(
            [command, "samples", "--demo", "config/config.yaml", "--out", "a.tsv", "--force", *more],
            capture_output=True,
            text=True,
            check=True,
        )
        for more in ([], ["--quiet"])
    )
    assert loud.stderr.endswith("INFO a.tsv: 180 slides of 36 patients\n")
    assert quiet.stderr == ""


def test_the_command_offers_the_tasks_that_there_are() -> None:
    assert tuple(TASKS) == TASK_NAMES  # named twice, so that --help imports no model


def test_a_view_of_no_results_says_what_is_missing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failed(capsys, "view", "nothing", "--no-browser")
    assert "nothing: no results here, for nothing/predictions/slides.tsv does not exist; name the folder" in said


def test_ctrl_c_ends_in_a_word_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_report", stopped)
    assert main(["report"]) == 130
    assert capsys.readouterr().err == "foveate report: stopped; what is finished is kept\n"
