import dataclasses
import re

import pytest

from foveate.report.page import TEMPLATES, PatientView, count_states, illustrate, place
from foveate.report.sources import PatientRow, SlideRow


def patient(stage="pN1", true_stage="pN1", state="complete", posterior=(0.1, 0.0, 0.2, 0.6, 0.1)):
    missing = () if state == "complete" else ("a",)
    row = PatientRow("Anna", "test", state, missing, true_stage, stage, stage, "", "", posterior)
    slides = (SlideRow("Anna_1", "Anna", "0", "test", "", "ok", "", None, None),)
    return PatientView(row, slides, lambda: iter(()), lambda: None)


@pytest.mark.parametrize(
    ("view", "off", "kind", "text", "tags"),
    [
        (patient(), 0, "ok", "right", ["positive"]),
        (patient("pN0", "pN1mi"), 2, "off", "off by 2", ["wrong"]),
        (patient(true_stage=""), -1, "", "no truth", ["positive"]),
        (patient("", "pN1", "incomplete", ()), -1, "incomplete", "incomplete", ["incomplete"]),
    ],
)
def test_what_a_patient_row_says(view, off, kind, text, tags):
    assert (view.off, view.verdict.kind, view.verdict.text, view.tags) == (off, kind, text, tags)


def test_doubt_and_names():
    assert patient().doubt == pytest.approx(0.4)
    assert patient("", "", "incomplete", ()).doubt == 1.0
    assert patient().names == "anna anna_1"


def test_a_full_page_has_pictures_of_whom_one_would_look_at_first():
    sure, unsure = (0.0, 0.0, 0.0, 1.0, 0.0), (0.3, 0.0, 0.3, 0.4, 0.0)
    cohort = {
        "right": patient(posterior=sure),
        "unsure": patient(posterior=unsure),
        "wrong": patient("pN0", "pN1mi", posterior=sure),
        "incomplete": patient("", "", "incomplete", ()),
    }
    views = [dataclasses.replace(v, row=dataclasses.replace(v.row, patient=name)) for name, v in cohort.items()]

    def drawn(slides):
        made = illustrate(views, slides)
        assert [view.row for view in made] == [view.row for view in views]
        return {view.row.patient for view in made if view.slides is not None}

    assert drawn(0) == set()
    assert drawn(1) == {"incomplete"}
    assert drawn(2) == {"incomplete", "wrong"}
    assert drawn(3) == {"incomplete", "wrong", "unsure"}
    assert drawn(4) == set(cohort)


def test_states_are_counted():
    slides = [
        SlideRow(str(k), "p", "", "", "", s, "", None, None) for k, s in enumerate(("ok", "ok", "failed", "unused"))
    ]
    counts = {c.name: c.number for c in count_states(slides, [patient().row, patient("", "", "incomplete", ()).row])}
    assert list(counts.values()) == [2, 1, 0, 1, 1, 1]
    assert counts["slides failed"] == 1


@pytest.mark.parametrize(
    ("value", "low", "where"), [(0.5, 0, "50.0%"), (0.25, -0.5, "50.0%"), (-0.9, 0, "0.0%"), (2, 0, "100.0%")]
)
def test_place_on_the_axis(value, low, where):
    assert place(value, low) == where


@pytest.mark.parametrize("template", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_no_template_switches_escaping_off(template):
    assert not re.search(r"\|\s*safe|autoescape|Markup", template.read_text(encoding="utf-8"))
