"""Make the pictures of the README: `python docs/screenshots.py`, after `make demo`, where there is a Chromium.

Writes report.png and view.jpg beside this script: the report, and the viewer, of one slide.
"""

import argparse
import io
import json
import threading
from pathlib import Path

import chromium
from PIL import Image

from foveate.errors import FoveateError
from foveate.view.content import Content
from foveate.view.server import Server

DOCS = Path(__file__).parent
REPORT_PX, VIEW_PX = (1250, 1180), (1250, 740)
COLOURS, QUALITY = 128, 72
MOST_BYTES = 300_000


def main() -> None:
    """Make both pictures."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    command.add_argument("--slide", help="default: the first micrometastasis of a test slide that was recognised")
    command.add_argument("--fixation", type=int, help="in the viewer; default: the one that spoke most for the call")
    command.add_argument("--out", type=Path, default=DOCS, help="default: the folder of this script")
    options = command.parse_args()
    program = chromium.find()
    if program is None:
        raise SystemExit("no Chromium was found; install the system's package chromium")
    try:
        content = Content(options.results)
    except FoveateError as error:
        raise SystemExit(str(error)) from error
    slides = {row["slide"]: row for row in content.listing()["slides"]}
    slide = options.slide or next(
        (
            name
            for name, row in slides.items()
            if row["split"] == "test" and row["prediction"] == row["label"] == "micro"
        ),
        next(iter(slides)),
    )
    told = content.slide(slide)
    if told is None or told["image"] is None or told["fixations"] is None:
        raise SystemExit(f"{options.results}: {slide!r} is no slide with a prediction that can be opened")
    fixation = options.fixation or decisive(told["fixations"]["running"])
    report = options.results.resolve() / "report" / "index.html"
    with chromium.Page(program, REPORT_PX) as page:
        few_colours(picture_of_report(page, report, slides[slide]["patient"]), options.out / "report.png")
    with Server(content) as server, chromium.Page(program, VIEW_PX) as page:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        photograph(picture_of_viewer(page, server.address, slide, fixation), options.out / "view.jpg")
        server.shutdown()


def decisive(running: list[list[float]]) -> int:
    """The fixation, from 1, after which the probability of the final class rose most."""
    final = [values[max(range(len(values)), key=running[-1].__getitem__)] for values in running]
    return max(range(1, len(final)), key=lambda t: final[t] - final[t - 1], default=0) + 1


def picture_of_report(page: chromium.Page, report: Path, patient: str) -> bytes:
    """The patient's row, unfolded, with its first slide."""
    page.open(report.as_uri())
    page.wait("document.readyState === 'complete'")
    page.value(f"""(() => {{
      const find = document.getElementById('find');
      find.value = {json.dumps(patient)};
      find.dispatchEvent(new Event('input', {{ bubbles: true }}));
      for (const row of document.querySelectorAll('#patient-list > :not([hidden])')) row.open = true;
      document.getElementById('patients').scrollIntoView();
    }})()""")
    page.wait("[...document.querySelectorAll('#patient-list > :not([hidden]) img')].slice(0, 2).every(i => i.complete)")
    return page.picture()


def picture_of_viewer(page: chromium.Page, address: str, slide: str, fixation: int) -> bytes:
    """A slide around one of its fixations, when everything stands still."""
    page.open(f"{address}#{slide}/{fixation}")
    page.wait("document.querySelector('#slider').value > 0")
    for _ in range(2):
        page.press("-")
    page.wait("""(() => {
      const { viewport, world } = OpenSeadragon.getViewer('slide');
      const [now, end] = [true, false].map(current => viewport.getBounds(current));
      return world.getItemAt(0).getFullyLoaded() && ['x', 'y', 'width'].every(side => now[side] === end[side])
        && [...document.images].every(image => image.complete);
    })()""")
    return page.picture()


def few_colours(png: bytes, path: Path) -> None:
    """Write a picture of a page: a README is not the place for megabytes."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    check(path)


def photograph(png: bytes, path: Path) -> None:
    """Write a picture that is mostly tissue."""
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=QUALITY, subsampling=0, optimize=True)
    check(path)


def check(path: Path) -> None:
    """Say how large a picture is; one that is too large is an error."""
    size = path.stat().st_size
    print(f"{path}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size:,} bytes; expected at most {MOST_BYTES:,}")


if __name__ == "__main__":
    main()
