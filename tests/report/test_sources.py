import pytest

from foveate.errors import FoveateError
from foveate.report.sources import (
    PATIENT_COLUMNS,
    SLIDE_COLUMNS,
    Predictions,
    read_history,
    read_json,
    read_patients,
    read_slides,
    read_status,
)


def write(path, columns, *rows):
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def ok(**changes):
    row = {"slide": "a", "patient": "p", "state": "ok", "prediction": "micro"}
    row |= {f"p_{name}": p for name, p in zip(("negative", "itc", "micro", "macro"), "0001", strict=True)}
    return row | changes


def test_slides_with_and_without_predictions(tmp_path):
    rows = (ok(), {"slide": "b", "patient": "p", "state": "failed", "reason": "is broken"})
    first, second = read_slides(write(tmp_path / "slides.tsv", SLIDE_COLUMNS, *rows))
    assert first.learned is not None
    assert first.learned.probabilities == (0.0, 0.0, 0.0, 1.0)
    assert first.random is None
    assert (second.learned, second.reason) == (None, "is broken")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"label": "makro"}, "label: 'makro' is not one of negative, itc, micro, macro"),
        ({"state": "fine"}, "state: 'fine' is not one of ok, failed, excluded, unused"),
        ({"p_itc": "high"}, "p_itc: 'high' is not a number"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path, changes, fault):
    path = write(tmp_path / "slides.tsv", SLIDE_COLUMNS, ok(slide="b"), ok(**changes))
    with pytest.raises(FoveateError) as error:
        read_slides(path)
    assert str(error.value) == f"{path}:3: {fault}"


def test_missing_columns_are_named(tmp_path):
    path = write(tmp_path / "slides.tsv", SLIDE_COLUMNS[:-1], ok())
    with pytest.raises(FoveateError, match="missing columns: random_p_macro"):
        read_slides(path)


def test_patients(tmp_path):
    complete = {"patient": "p", "state": "complete", "stage": "pN1mi", "rule_stage": "pN0"}
    complete |= {"p_pN0": "0.1", "p_pN0(i+)": "0.2", "p_pN1mi": "0.3", "p_pN1": "0.4", "p_pN2": "0"}
    incomplete = {"patient": "q", "state": "incomplete", "missing": "a,b"}
    first, second = read_patients(write(tmp_path / "patients.tsv", PATIENT_COLUMNS, complete, incomplete))
    assert first.posterior == (0.1, 0.2, 0.3, 0.4, 0.0)
    assert first.missing == ()
    assert (second.posterior, second.missing) == ((), ("a", "b"))


def test_an_unknown_stage_is_an_error(tmp_path):
    path = write(tmp_path / "patients.tsv", PATIENT_COLUMNS, {"patient": "p", "true_stage": "pN3"})
    with pytest.raises(FoveateError, match=r"patients.tsv:2: true_stage: 'pN3' is not one of pN0, "):
        read_patients(path)


def test_a_history_has_to_have_phases(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n1,0.5\n", encoding="utf-8")
    with pytest.raises(FoveateError, match="missing columns: phase"):
        read_history(path)


def test_a_slide_without_status_file_has_an_empty_status(tmp_path):
    assert read_status(tmp_path, "a") == {}
    (tmp_path / "a.json").write_text('{"state": "ok"}', encoding="utf-8")
    assert read_status(tmp_path, "a") == {"state": "ok"}


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "0.h5").write_text("not HDF5", encoding="utf-8")
    with pytest.raises(FoveateError, match="broken.json: cannot be read as JSON"):
        read_json(tmp_path / "broken.json")
    with pytest.raises(FoveateError, match="0.h5: cannot be read"):
        Predictions([tmp_path / "0.h5"])
    with pytest.raises(FoveateError, match="absent.tsv: cannot be read as a table"):
        read_slides(tmp_path / "absent.tsv")
