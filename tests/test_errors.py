import copy

from foveate.errors import FoveateError, SheetError, SlideError


def test_a_slide_error_says_which_slide_what_and_how_to_go_on() -> None:
    error = SlideError("a", "it is cut short", "copy the file again")
    assert str(error) == "a: it is cut short (copy the file again)"
    assert str(SlideError("a", "it is cut short")) == "a: it is cut short"
    assert isinstance(error, FoveateError)


def test_a_copied_slide_error_is_whole() -> None:
    error = copy.copy(SlideError("a", "it is cut short", "copy the file again"))
    assert (error.slide, error.reason, error.remedy) == ("a", "it is cut short", "copy the file again")


def test_a_sheet_error_has_one_fault_a_line() -> None:
    error = SheetError(["a.tsv:2: x", "a.tsv:3: y"])
    assert str(error) == "a.tsv:2: x\na.tsv:3: y"
    assert error.faults == ["a.tsv:2: x", "a.tsv:3: y"]
