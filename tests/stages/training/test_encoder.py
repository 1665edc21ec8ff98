import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from foveate.config import Config
from foveate.config import Encoder as Settings
from foveate.errors import FoveateError
from foveate.stages.training.encoder import make_scout, read_encoder

SHARED = os.environ.get("FOVEATE_SHARED")


def settings(path: Path | str) -> Settings:
    return Settings(str(path), mean=127.0, std=128.0, frozen=True, scales=1)


def test_none_is_named() -> None:
    assert read_encoder(settings(""), 16) is None


@pytest.mark.parametrize("side", [16, 24])
def test_an_encoder_of_any_size(tmp_path: Path, side: int) -> None:
    pixels = keras.Input((side, side, 3))
    maps = keras.layers.Conv2D(4, 3, padding="same")(pixels)
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(maps)).save(tmp_path / "e.keras")
    made = read_encoder(settings(tmp_path / "e.keras"), 16)
    assert made is not None
    assert made.network.input_shape == (None, 16, 16, 3)
    image = np.full((1, 1, 16, 16, 3), 127 + 64, np.uint8)
    kernel, bias = made.network.get_weights()
    inner = kernel.sum((0, 1, 2)) * 0.5 + bias  # but for the border
    assert made(image).shape == (1, 4)
    assert np.abs(made(image).numpy()[0] - inner).max() < 0.5 * np.abs(kernel).sum()


def test_what_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"gone\.keras does not exist"):
        read_encoder(settings(tmp_path / "gone.keras"), 16)
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(FoveateError, match="no model that this version can read"):
        read_encoder(settings(tmp_path / "text.keras"), 16)
    flat = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    flat.save(tmp_path / "flat.keras")
    with pytest.raises(FoveateError, match="no encoder of squares of 24 x 24 px"):
        read_encoder(settings(tmp_path / "flat.keras"), 24)


def test_a_scout_by_the_configuration(tiny_config: Config, tmp_path: Path) -> None:
    def config(path: str, **scout: Any) -> Config:
        model = dataclasses.replace(tiny_config.model, encoder=settings(path))
        return dataclasses.replace(tiny_config, model=model, scout=dataclasses.replace(tiny_config.scout, **scout))

    assert make_scout(config("", count=0)) is None
    plain = make_scout(config("", count=7, mpp=16.0, cells=3))
    assert plain is not None
    assert (plain.px, plain.cells, plain.count, plain.mpp, plain.frozen) == (24, 3, 7, 16.0, False)
    pixels = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(4, 3, 8, padding="same", name="eighth")(pixels)
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(maps)).save(tmp_path / "e.keras")
    given = make_scout(config(str(tmp_path / "e.keras"), count=7, mpp=16.0, cells=3))
    assert given is not None
    assert (given.px, given.cells, given.mean, given.std, given.frozen) == (24, 3, 127.0, 128.0, True)
    assert given.trunk.layers[-1].name == "eighth"
    with pytest.raises(FoveateError, match=r"e\.keras: squares of 3 cells at 8 um/px: has no map of 3 x 3 positions"):
        make_scout(config(str(tmp_path / "e.keras"), count=7, mpp=8.0, cells=3))
    with pytest.raises(FoveateError, match=r"scout\.mpp: squares of 3 cells at 2 um/px: px must be cells times"):
        make_scout(config("", count=7, mpp=2.0, cells=3))


@pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
def test_a_real_one_in_another_size() -> None:
    made = read_encoder(settings(Path(SHARED or "") / "data/encoders/efficientnet_lite0_imagenet_notop.keras"), 64)
    assert made is not None
    assert made.features == 1280
    found = made(np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64, 3)).astype(np.uint8)).numpy()
    assert found.shape == (2, 3840)
    assert np.ptp(found, axis=0).max() > 0.1
