import base64
import io

import numpy as np
from PIL import Image

from foveate.report.sheets import contact_sheet, jpeg_uri, small_thumbnail


def test_a_picture_survives_as_a_data_uri():
    picture = np.full((16, 24, 3), (200, 120, 160), np.uint8)
    head, data = jpeg_uri(picture).split(",")
    assert head == "data:image/jpeg;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert read.shape == (16, 24, 3)
    assert np.abs(read.astype(int) - picture).max() <= 3


def test_the_longest_side_is_reduced_and_never_enlarged():
    assert small_thumbnail(np.zeros((100, 400, 3), np.uint8), 200).shape == (50, 200, 3)
    assert small_thumbnail(np.zeros((400, 100, 3), np.uint8), 200).shape == (200, 50, 3)
    assert small_thumbnail(np.zeros((30, 40, 3), np.uint8), 200).shape == (30, 40, 3)
    assert small_thumbnail(np.zeros((2, 4000, 3), np.uint8), 200).shape == (1, 200, 3)


def test_columns_are_fixations_and_rows_are_scales():
    glimpses = np.empty((3, 2, 8, 8, 3), np.uint8)
    for t in range(3):
        for s in range(2):
            glimpses[t, s] = 10 * t + s
    sheet = contact_sheet(glimpses, tile=4)
    assert sheet.shape == (8, 12, 3)
    np.testing.assert_array_equal(sheet[::4, ::4, 0], [[0, 10, 20], [1, 11, 21]])
    np.testing.assert_array_equal(sheet[3::4, 3::4, 0], [[0, 10, 20], [1, 11, 21]])
