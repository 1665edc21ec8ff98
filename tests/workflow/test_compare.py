"""The comparison: on demand, in the report once it is there, and never asked for by it."""

from .project import Project
from .test_bad_slides import table


def test_it_is_made_on_demand_and_the_next_page_shows_it(project: Project) -> None:
    assert "compare" not in project.planned()
    assert project.planned("compare") == {"compare_fold": 1, "compare": 1}

    project.finish("compare")

    text = (project.results / "compare" / "compare.tsv").read_text().splitlines()
    rows = [dict(zip(text[0].split("\t"), line.split("\t"), strict=True)) for line in text[1:]]
    assert {(row["way"], row["glimpses"]) for row in rows if row["way"] != "exhaustive"} == {
        (way, count) for way in ("learned", "sampled", "salience", "spread", "random") for count in ("1", "3", "4")
    }
    assert {row["readout"] for row in rows if row["way"] == "exhaustive"} == {"plain", "fitted"}
    assert {(row["n_slides"], row["n_patients"]) for row in rows} == {("3", "2")}  # p3 and p4
    # after glimpse.count glimpses the learned policy says what prediction says
    slides = table(project.results / "predictions" / "slides.tsv")
    right = [slides[s]["prediction"] == slides[s]["label"] for s in ("p3_a", "p3_b", "p4_a")]
    learned = next(row for row in rows if (row["way"], row["glimpses"]) == ("learned", "3"))
    assert abs(float(learned["slide_accuracy"]) - sum(right) / 3) < 1e-3

    assert project.planned() == {"page": 1, "complete": 1}
    project.finish()
    page = (project.results / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count('id="comparison"') == 1
    assert "made with other weights" not in page
    assert "Nothing to be done" in project.finish()

    # another training asks for other predictions, and for a comparison only on demand
    project.configure(train={"seed": 2})
    planned = project.planned()
    assert planned["train"] == 1
    assert "compare_fold" not in planned
    assert "compare_fold" in project.planned("compare")
