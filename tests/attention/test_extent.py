import numpy as np
import pytest
from keras import ops

from foveate.attention.extent import AXES, SCALE, extent, feature, nowhere, reached

TUMOR, NONE, DOUBT = (np.log([1 - p, p / 3, p / 3, p / 3]) for p in (0.9, 0.1, 0.5))


def walked(places: list[tuple[float, float]], seen: list[np.ndarray]) -> np.ndarray:
    reach = nowhere(1, "float32")
    for place, evidence in zip(places, seen, strict=True):
        reach = reached(reach, ops.array(evidence[None], "float32"), ops.array([place], "float32"))
    return reach


def test_nothing_seen_has_no_extent() -> None:
    assert nowhere(3, "float32").shape == (3, 2 * AXES)
    assert np.asarray(extent(nowhere(3, "float32"))).tolist() == [[0], [0], [0]]
    assert np.asarray(extent(walked([(3, 4)], [TUMOR]))).tolist() == [[0]]


def test_only_what_shows_tumor_counts() -> None:
    places = [(0.0, 0.0), (0.0, 20.0), (3.0, 4.0), (90.0, 0.0)]
    assert np.asarray(extent(walked(places, [TUMOR, NONE, TUMOR, DOUBT])))[0, 0] == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_it_is_the_largest_distance_in_any_direction(degrees: int) -> None:
    along = np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])
    places = [tuple(50 + k * along) for k in (0, -4, 9, 2)]
    found = np.asarray(extent(walked(places, [TUMOR] * 4)))[0, 0]  # type: ignore[arg-type]
    assert 13 * np.cos(np.pi / AXES / 2) - 1e-3 <= found <= 13 + 1e-3


def test_the_answer_reads_its_logarithm() -> None:
    reach = walked([(10, 10), (10, 40)], [TUMOR, TUMOR])  # 30 cells of 64 um
    assert np.asarray(feature(reach, 64.0))[0, 0] == pytest.approx(SCALE * np.log(1 + 1.92), rel=1e-5)
