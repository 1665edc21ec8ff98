from pathlib import Path

import h5py
import numpy as np

from foveate.report.patient_look import BANDS, WIDTH, PatientRollout, PatientRollouts, patient_look

SURE = np.eye(5)


def write(path: Path, fold: str, patients: list[str]) -> Path:
    """Two patients at most, with two slides and one; three fixations, of which the second makes two."""
    with h5py.File(path, "w") as file:
        file.attrs["fold"] = fold
        group = file.create_group("patient_agent/learned")
        if patients:
            group["patient"] = patients
            group["slides"] = np.array([["a1", "a2"], ["b1", ""]], object)[: len(patients)]
            group["picked"] = np.array([[0, 1, 0], [0, 0, -1]], np.int32)[: len(patients)]
            running = np.stack([SURE[[0, 3, 3]], SURE[[1, 2, 0]]])
            running[1, 2] = np.nan
            group["running"] = running[: len(patients)]
    return path


def test_the_path_of_each_patient_without_what_fills_it_up(tmp_path: Path) -> None:
    rollouts = PatientRollouts([write(tmp_path / "0.h5", "0", ["a", "b"]), write(tmp_path / "1.h5", "1", ["a"])])
    fold, b = rollouts.of("b") or ("", None)
    assert b is not None
    assert (fold, b.slides, b.picked.tolist(), b.running.tolist()) == ("0", ("b1",), [0, 0], SURE[[1, 2]].tolist())
    assert (rollouts.of("a") or ("",))[0] == "0"
    assert rollouts.of("c") is None


def test_files_of_no_agent(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.create_group("learned")
    assert PatientRollouts([tmp_path / "none.h5", write(tmp_path / "0.h5", "0", [])]).of("a") is None


def test_what_is_drawn() -> None:
    half = np.array([0.5, 0, 0, 0.5, 0])
    look = patient_look("0", PatientRollout(("a1", "a2"), np.array([0, 1, 0, 0]), np.array([SURE[0], *[half] * 3])))
    quarter = WIDTH / 4
    assert [(row.slide, row.count, row.looks) for row in look.rows] == [
        ("a1", 3, (0, 2 * quarter, 3 * quarter)),
        ("a2", 1, (quarter,)),
    ]
    assert BANDS < look.rows[0].y < look.rows[1].y < look.height
    lowest = [tuple(map(float, point.split(","))) for point in look.bands[0].split()]
    assert lowest[:2] == [(0, BANDS), (quarter, BANDS)]
    assert lowest[-2:] == [(quarter, 0), (0, 0)]  # all of the first fixation
    assert lowest[8:10] == [(WIDTH, BANDS / 2), (3 * quarter, BANDS / 2)]  # half of the last
    assert [tick.label for tick in look.ticks] == ["1", "2", "3", "4"]


def test_ticks_of_a_long_look() -> None:
    look = patient_look("0", PatientRollout(("a1",), np.zeros(80, int), np.tile(SURE[0], (80, 1))))
    assert [tick.label for tick in look.ticks] == ["1", *map(str, range(10, 81, 10))]
