"""The patient agent from training to patients.tsv."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foveate.errors import FoveateError
from foveate.patients.posterior import kappa_stage, stage_posterior
from foveate.patients.stages import PN_STAGES
from foveate.stages import patients as patients_stage
from foveate.stages import predict, slides, train
from foveate.stages.determinism import seeded
from foveate.stages.keras_file import load_patient_agent
from foveate.stages.plan import Plan, jobs
from foveate.stages.train import make_agent, make_patient_agent

pytestmark = pytest.mark.usefixtures("eager")
T = 2  # glimpses on a slide


@pytest.fixture(scope="module")
def models(patients: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a slide model and a patient agent over it, neither of them trained, but not the same for all."""
    folder = tmp_path_factory.mktemp("models")
    seeded(0)
    agent, rng = make_agent(patients.config, [0.55, 0.15, 0.15, 0.15]), np.random.default_rng(0)
    for variable in agent.weights:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    agent.save(folder / "model.keras")
    make_patient_agent(agent, [1.0] * 5).save(folder / "patient.keras")
    return folder


def run(cohort: Any, models: Path, out: Path) -> dict[str, Any]:
    """Predict all slides; what the group of the patient agent holds, as learned/picked and so on."""
    weights, over = models / "model.keras", models / "patient.keras"
    predict.run(cohort.config, cohort.samples, cohort.overviews, weights, out, fold="0", patient_weights=over)
    found: dict[str, Any] = {}
    with h5py.File(out) as file:
        found["failed"] = dict(file["patient_agent/failed"].attrs)
        for policy in ("learned", "random"):
            for name, values in file["patient_agent"][policy].items():
                strings = name in ("patient", "slides")
                found[f"{policy}/{name}"] = values.asstr()[:].tolist() if strings else values[:]
        found["slides"] = dict(zip(file["learned/slide"].asstr()[:], file["learned/probabilities"][:], strict=True))
        found["at"] = dict(zip(file["learned/slide"].asstr()[:], file["learned/location_um"][:], strict=True))
    return found


@pytest.fixture(scope="module")
def uneven(patients: Any) -> Any:
    """Patients of one, two and three slides."""
    return patients.of_patients(
        a=["neg_a"], b=["neg_b", "itc_a"], c=["neg_c", "micro_a", "macro_a"], v=["neg_v", "micro_v"]
    )


@pytest.fixture(scope="module")
def predicted(uneven: Any, models: Path, eager: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(uneven, models, tmp_path_factory.mktemp("predicted") / "0.h5")


def test_every_patient_gets_its_budget(predicted: dict[str, Any]) -> None:
    assert predicted["learned/patient"] == ["a", "b", "v", "c"]
    assert predicted["learned/slides"] == [
        ["neg_a", "", ""], ["itc_a", "neg_b", ""], ["micro_v", "neg_v", ""], ["macro_a", "micro_a", "neg_c"],
    ]  # fmt: skip
    for policy in ("learned", "random"):
        picked, running = predicted[f"{policy}/picked"], predicted[f"{policy}/running"]
        assert (picked >= 0).sum(1).tolist() == [T, 2 * T, 2 * T, 3 * T]
        for row, count in enumerate((1, 2, 2, 3)):
            assert picked[row].max() < count
            np.testing.assert_allclose(running[row, : count * T].sum(-1), 1, rtol=1e-5)
            assert np.isnan(running[row, count * T :]).all()
            assert np.isnan(predicted[f"{policy}/location_um"][row, count * T :]).all()
            np.testing.assert_array_equal(predicted[f"{policy}/probabilities"][row], running[row, count * T - 1])
    np.testing.assert_array_equal(predicted["learned/location_um"], predicted["learned/location_l0"])  # 1 um/px


def test_untrained_it_sees_and_says_what_the_slides_say(predicted: dict[str, Any]) -> None:
    for row, names in enumerate(predicted["learned/slides"]):
        own = [name for name in names if name]
        expected = stage_posterior([predicted["slides"][slide] for slide in own])
        np.testing.assert_allclose(predicted["learned/probabilities"][row], expected, atol=1e-4)
        for k, slide in enumerate(own):
            here = predicted["learned/location_um"][row, predicted["learned/picked"][row] == k]
            np.testing.assert_array_equal(here, predicted["at"][slide])


def test_a_patient_with_a_failed_slide_gets_none(
    with_unreadable: Callable[..., Any], models: Path, tmp_path: Path
) -> None:
    cohort = with_unreadable("negative", "bad").of_patients(a=["neg_a", "bad"], b=["neg_b"])
    cohort = dataclasses.replace(cohort, samples=[s for s in cohort.samples if s.patient in "ab"])
    assert run(cohort, models, tmp_path / "0.h5")["learned/patient"] == ["b"]
    alone = dataclasses.replace(cohort, samples=[s for s in cohort.samples if s.patient == "a"])
    assert "learned/patient" not in run(alone, models, tmp_path / "1.h5")
    assert patients_stage.read_agents([tmp_path / "1.h5"]) == {}


def test_another_file_than_a_patient_agent(patients: Any, models: Path, tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"model\.keras: holds no agent over a patient's slides for the stages pN0,"):
        load_patient_agent(models / "model.keras")
    with pytest.raises(FoveateError, match=r"absent\.keras does not exist; .*correct predict\.patient_weights"):
        load_patient_agent(tmp_path / "absent.keras")


def test_an_agent_of_another_sensor(patients: Any, models: Path, tmp_path: Path) -> None:
    other = patients.tuned(glimpse={"scales_mpp": (2.0, 32.0)})
    make_patient_agent(make_agent(other.config, [0.25] * 4), [1.0] * 5).save(tmp_path / "patient.keras")
    shutil.copy(models / "model.keras", tmp_path)
    with pytest.raises(FoveateError, match=r"patient agent looks with scales_mpp \[2\.0, 32\.0\], the model of slides"):
        run(patients, tmp_path, tmp_path / "0.h5")


def test_models_of_an_ensemble_are_averaged(tmp_path: Path) -> None:
    for number, p in ((0, [1.0, 0, 0, 0, 0]), (1, [0, 0.5, 0, 0, 0.5])):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            group = file.create_group("patient_agent")
            group.create_group("failed").attrs["b"] = "a reason"
            for policy in ("learned", "random"):
                group[f"{policy}/patient"] = ["a", "b"]
                group[f"{policy}/probabilities"] = np.array([p, p], np.float32)
    with h5py.File(tmp_path / "without.h5", "w"):
        pass
    found = patients_stage.read_agents([tmp_path / name for name in ("0.h5", "1.h5", "without.h5")])
    assert set(found) == {"a"}
    np.testing.assert_allclose(found["a"]["learned"], [0.5, 0.25, 0, 0, 0.25])


def test_from_training_to_the_table_of_patients(patients: Any, tmp_path: Path) -> None:
    quick = patients.tuned(train={"guide_epochs": 0, "pretrain_epochs": 0, "epochs": 1}, patient_agent={"epochs": 1})
    rows = [dataclasses.replace(s, split="val" if s.patient == "v" else "train") for s in quick.samples]
    plan = Plan(rows, jobs(quick.config, rows))
    job = plan.jobs["split"]
    train.run(quick.config, plan.of(job.learned), job.fold, quick.overviews, tmp_path)
    files = [tmp_path / name for name in ("0.h5", "slides.tsv", "summary.txt", "patients.tsv", "s.csv", "metrics.json")]
    model, agent = tmp_path / "model.keras", tmp_path / "patient.keras"
    predict.run(
        quick.config, plan.of(job.predict), quick.overviews, model, files[0], fold="split", patient_weights=agent
    )
    slides.run(plan, quick.overviews, files[:1], [tmp_path / "dropped.json"], *files[1:3])
    patients_stage.run(files[1], {}, *files[3:], predictions=files[:1], bootstrap=5)
    with files[3].open(newline="") as table:
        (row,) = csv.DictReader(table, delimiter="\t")
    with h5py.File(files[0]) as file:
        said = file["patient_agent/learned/probabilities"][0].astype(float)
        random = file["patient_agent/random/probabilities"][0].astype(float)
    assert (row["patient"], row["true_stage"], row["agent_stage"]) == ("v", "pN1mi", kappa_stage(said))
    assert row["agent_random_stage"] == kappa_stage(random)
    np.testing.assert_allclose([float(row[f"agent_p_{stage}"]) for stage in PN_STAGES], said, atol=1e-6)
    metrics = json.loads(files[5].read_text())["val"]
    assert metrics["learned"]["n_patients_agent"] == metrics["random"]["n_patients_agent"] == 1
    assert set(metrics["learned"]["kappa_agent"]) == {"value", "ci95", "undefined_resamples"}
