import h5py
import numpy as np
import pytest

from foveate.errors import FoveateError
from foveate.report.sources import (
    PATIENT_COLUMNS,
    SLIDE_COLUMNS,
    Model,
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
    (tmp_path / "a.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(FoveateError, match=r"a.json: \[1\]; expected a JSON object"):
        read_status(tmp_path, "a")


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "0.h5").write_text("not HDF5", encoding="utf-8")
    with pytest.raises(FoveateError, match=r"broken\.json: cannot be read as JSON"):
        read_json(tmp_path / "broken.json")
    with pytest.raises(FoveateError, match=r"0\.h5: cannot be read"):
        Predictions([tmp_path / "0.h5"])
    with pytest.raises(FoveateError, match=r"absent\.tsv: cannot be read as a table"):
        read_slides(tmp_path / "absent.tsv")


def test_a_prediction_file_without_slides(tmp_path):
    with h5py.File(tmp_path / "0.h5", "w") as file:
        file.attrs.update(fold="0", weights_sha256="ab", scales_mpp=(1.0, 4.0), glimpse_px=8, n_glimpses=3)
        file.create_group("learned")
    predictions = Predictions([tmp_path / "0.h5"])
    assert predictions.models == [Model("0", "ab", (1.0, 4.0), 8, 3)]
    assert predictions.of("a", "0") is None


def test_the_model_of_the_slides_fold_is_chosen(tmp_path):
    for fold, value in (("0", 0.25), ("1", 0.5)):
        with h5py.File(tmp_path / f"{fold}.h5", "w") as file:
            file.attrs.update(fold=fold, weights_sha256="ab", scales_mpp=(1.0,), glimpse_px=2, n_glimpses=1)
            group = file.create_group("learned")
            group["slide"] = ["b", "a"]
            for name, shape in (
                ("running", (4,)),
                ("location_um", (2,)),
                ("location_l0", (2,)),
                ("glimpses", (1, 2, 2, 3)),
            ):
                group[name] = np.full((2, 1, *shape), value)
            group["policy_probability"] = np.full((2, 1), value)
    predictions = Predictions([tmp_path / "0.h5", tmp_path / "1.h5"])
    for fold, value in (("0", 0.25), ("1", 0.5), ("", 0.25)):
        found = predictions.of("a", fold)
        assert found is not None
        assert found.fold == (fold or "0")
        assert found.policy_probability.tolist() == [value]
        assert found.scouted_um.shape == (0, 2)


def test_fixations_end_where_it_stopped(tmp_path):
    with h5py.File(tmp_path / "0.h5", "w") as file:
        file.attrs.update(fold="0", weights_sha256="ab", scales_mpp=(1.0,), glimpse_px=2, n_glimpses=3)
        group = file.create_group("learned")
        group["slide"], group["looked"] = ["a", "b"], [1, 3]
        for name, shape in (
            ("running", (4,)),
            ("location_um", (2,)),
            ("location_l0", (2,)),
            ("glimpses", (1, 2, 2, 3)),
        ):
            group[name] = np.ones((2, 3, *shape))
        group["policy_probability"] = np.ones((2, 3))
        group["scouted_um"] = [[(64, 192), (np.nan, np.nan)], [(1, 2), (3, 4)]]
        file.attrs["scouted_side_um"] = 320
    for slide, count in (("a", 1), ("b", 3)):
        found = Predictions([tmp_path / "0.h5"]).of(slide, "0")
        arrays = (found.running, found.location_um, found.location_l0, found.policy_probability, found.glimpses)
        assert [len(values) for values in arrays] == [count] * 5
        assert found.budget == 3
        assert found.scouted_um.tolist() == ([[64, 192]] if slide == "a" else [[1, 2], [3, 4]])
        assert found.scouted_side_um == 320
