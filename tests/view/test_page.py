"""The viewer's page in headless Chromium, through keys and clicks as a person would use it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from foveate.view.server import Server

# where the view's middle is, in level-0 pixels, and how many of them it is wide, where the movement ends
VIEWER = "OpenSeadragon.getViewer('slide')"
VIEW = f"""(() => {{
  const viewer = {VIEWER};
  const item = viewer.world.getItemAt(0), {{x, y}} = item.viewportToImageCoordinates(viewer.viewport.getCenter());
  return [Math.round(x), Math.round(y), Math.round(item.viewportToImageRectangle(viewer.viewport.getBounds()).width)];
}})()"""
STEP = "document.querySelector('#step').textContent"
BARS = "[...document.querySelectorAll('#bars .value')].map(value => value.textContent)"
SHOWN = "document.querySelector('#name').textContent"
PROBLEM = "document.querySelector('#problem').textContent"


def drawn(layer: str) -> str:
    return f"getComputedStyle(document.querySelector('#{layer}')).display !== 'none'"


@pytest.fixture
def page(run: Any, serving: Callable[[Path], Server], chromium: ModuleType) -> Iterator[Any]:
    """The viewer, with its first predicted slide opened and all tiles there. It may not complain."""
    server = serving(run.results)
    with chromium.Page(chromium.find()) as opened:
        opened.open(server.address)
        opened.wait(f"{VIEWER}.world.getItemAt(0).getFullyLoaded()")
        yield opened
        assert opened.complaints == []
        assert {url for url in opened.requests if not url.startswith((server.address, "data:"))} == set()


def test_the_slide_is_seen_with_its_layers(page: Any, run: Any) -> None:
    assert page.value(SHOWN) == "seen"
    assert page.value("document.querySelectorAll('#fixations circle').length") == 3
    assert page.value("document.querySelector('#lesions path').getAttribute('d')").startswith(
        "M600.0 300.0L700.0 300.0"
    )
    assert [page.value(drawn(layer)) for layer in ("tissue", "lesions", "fixations")] == [True] * 3
    assert any("/tiles/seen/" in url for url in page.requests)
    # the green marker's middle on the screen, from its level-0 pixels, is green in what was painted there
    page.press("End")
    page.wait("""(() => {
      const canvas = document.querySelector('.openseadragon-canvas canvas');
      const pixel = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
      pixel.drawImage(canvas, canvas.width / 2, canvas.height / 2, 1, 1, 0, 0, 1, 1);
      const [r, g, b] = pixel.getImageData(0, 0, 1, 1).data;
      return g > r + 60 && g > b + 60;
    })()""")


def test_steps_move_the_view_and_the_probabilities(page: Any) -> None:
    assert page.value(STEP) == "Fixation 0 of 3"
    assert page.value(BARS) == [""] * 4
    whole = page.value(VIEW)
    page.press("ArrowRight")
    assert page.value(STEP) == "Fixation 1 of 3"
    assert page.value(BARS) == ["70 %", "10 %", "10 %", "10 %"]
    x, y, width = page.value(VIEW)
    assert (x, y) == (500, 300)
    assert width < whole[2] / 4
    page.press("ArrowRight")
    assert page.value(VIEW) == [1000, 600, width]
    assert page.value(BARS) == ["40 %", "20 %", "30 %", "10 %"]
    assert page.value("document.querySelectorAll('#fixations rect:not(.under)').length") == 2
    page.wait("[...document.querySelectorAll('#glimpses img')].every(image => image.naturalWidth === 8)")
    page.press("ArrowLeft")
    assert page.value(VIEW) == [500, 300, width]
    page.press("End")
    page.press("ArrowRight")
    assert page.value(STEP) == "Fixation 3 of 3"
    assert page.value("location.hash") == "#seen/3"
    page.press("Home")
    assert page.value(VIEW) == whole


def test_a_zoom_that_the_user_chose_stays(page: Any) -> None:
    page.press("ArrowRight")
    width = page.value(VIEW)[2]
    page.press("-")
    page.press("ArrowRight")
    assert page.value(VIEW) == [1000, 600, pytest.approx(width * 1.6, abs=2)]


def test_layers_are_switched_by_keys_and_clicks(page: Any) -> None:
    for key, layer in (("t", "tissue"), ("a", "lesions"), ("f", "fixations")):
        page.press(key)
        assert not page.value(drawn(layer))
        page.click(f"#switches [value={layer}]")
        assert page.value(drawn(layer))


def test_arrow_keys_still_step_after_a_click_on_the_slide(page: Any) -> None:
    page.click("#slide")
    page.press("End")
    page.press("ArrowLeft")
    assert page.value(STEP) == "Fixation 2 of 3"


def test_up_and_down_go_through_the_list_and_say_what_is_wrong(page: Any) -> None:
    page.press("ArrowDown")
    page.wait(f"{SHOWN} === 'broken'")
    assert "The slide failed: " in page.value(PROBLEM)
    page.press("ArrowDown")
    page.wait(f"{SHOWN} === 'gone'")
    assert "gone.tif is not there any more (put it back, or " in page.value(PROBLEM)
    page.press("ArrowDown")
    page.wait(f"{SHOWN} === 'learned' && {VIEWER}.world.getItemCount() === 1")
    assert page.value(PROBLEM) == ""
    assert not page.value(drawn("fixations"))
    assert page.value("document.querySelector('#steps').hidden")
    page.press("ArrowUp")
    page.wait(f"{SHOWN} === 'gone'")


def test_the_list_has_stage_call_and_confidence_and_is_searched(page: Any) -> None:
    lines = page.value(
        "[...document.querySelectorAll('#list button')].map(line => line.innerText.split(/\\s+/).join(' '))"
    )
    assert lines == ["seen micro 70 %", "broken failed", "gone micro 70 %", "learned training"]
    heads = page.value("[...document.querySelectorAll('#list h2')].map(head => head.innerText.split(/\\s+/).join(' '))")
    assert heads == ["p incomplete, true pN1mi", "q"]
    page.press("/")
    for letter in "micro":
        page.press(letter)
    assert page.value("document.querySelector('#count').textContent") == "2 of 4 slides"
    assert page.value(STEP) == "Fixation 0 of 3"  # letters that are typed are no commands


@pytest.mark.parametrize(("hash_", "step"), [("#%E0%A4%A", 0), ("#seen/1.5", 1), ("#seen/x", 0), ("#nobody/2", 2)])
def test_an_address_that_was_typed_wrong_shows_a_slide(
    run: Any, serving: Callable[[Path], Server], chromium: ModuleType, hash_: str, step: int
) -> None:
    with chromium.Page(chromium.find()) as page:
        page.open(serving(run.results).address + hash_)
        page.wait(f"{SHOWN} === 'seen' && {STEP} === 'Fixation {step} of 3'")
        assert page.value(PROBLEM) == ""
        assert page.complaints == []


def test_help_opens_and_closes(page: Any) -> None:
    page.press("?")
    assert page.value("document.querySelector('#help').open")
    page.click("#help form button")
    assert not page.value("document.querySelector('#help').open")


def test_names_are_text_and_never_markup(own_run: Any, serving: Callable[[Path], Server], chromium: ModuleType) -> None:
    table = own_run.results / "predictions" / "slides.tsv"
    nasty = "<img src=x onerror=alert(1)>"
    table.write_text(table.read_text().replace("\nlearned\tq\t", f"\n{nasty}\t{nasty}\t"))
    with chromium.Page(chromium.find()) as page:
        page.open(f"{serving(own_run.results).address}#{nasty}")
        page.wait(f"{SHOWN} === {json.dumps(nasty)}")
        assert page.value("document.querySelectorAll('[onerror]').length") == 0
        assert page.value("document.querySelectorAll('#list button')[3].title").startswith(nasty)
        assert page.complaints == []
