"""What decodes a 96 px square of a JPEG tile fastest, and what says so when the tile is damaged.

    python benchmarks/decoders.py                  (half a minute)
    python benchmarks/decoders.py SLIDE.svs        (with the tiles of a slide of your own)

Takes 60 tiles of a slide, by default one that it makes, decodes the middle square of each with every decoder that is
installed, in turn, and compares with the whole decoded tile. Then it puts 200 random bytes into the middle of each
tile's data, and asks for the whole. simplejpeg and nvidia-nvimgcodec-cu12 are no dependencies of foveate: install
them to see them here. The last line is one JSON object: whole tiles of imagecodecs over each decoder's time.
"""

import argparse
import importlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import periodic_slide
from numpy.typing import NDArray

from foveate.slides.jpeg import RegionDecoder
from foveate.slides.tiff import TiffImage, read_tiff

TILES, PX, ROUNDS, DAMAGE = 60, 96, 7, 200
Decode = Callable[[bytes, int, int, int, int], NDArray[np.uint8]]  # data, x, y, width, height


def decoders(image_width: int) -> dict[str, Decode]:
    """Those that are installed; each gives (height, width, 3)."""
    turbo = RegionDecoder()
    found: dict[str, Decode] = {
        "imagecodecs, whole tile": lambda d, x, y, w, h: imagecodecs.jpeg8_decode(d)[y : y + h, x : x + w],
        "TurboJPEG 3, region": lambda d, x, y, w, h: turbo.decode(d, x, y, w, h, image_width).copy(),
    }
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for add in (_tensorflow, _simplejpeg, _nvimgcodec):
        try:
            found |= add()
        except ImportError:
            continue
    return found


def _tensorflow() -> dict[str, Decode]:
    operations = importlib.import_module("tensorflow").raw_ops

    def decode(data: bytes, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        window = [y, x, height, width]
        return operations.DecodeAndCropJpeg(  # type: ignore[no-any-return]
            contents=data, crop_window=window, channels=3, dct_method="INTEGER_ACCURATE"
        ).numpy()

    return {"tf.image.decode_and_crop_jpeg": decode}


def _simplejpeg() -> dict[str, Decode]:
    whole = importlib.import_module("simplejpeg").decode_jpeg
    return {"simplejpeg, whole tile": lambda d, x, y, w, h: whole(d, "RGB")[y : y + h, x : x + w]}


def _nvimgcodec() -> dict[str, Decode]:
    codec = importlib.import_module("nvidia.nvimgcodec")
    cpu_only = -99999
    backend = codec.Backend(codec.BackendKind.CPU_ONLY)
    options = "libjpeg_turbo_decoder:fancy_upsampling=1"
    decoder = codec.Decoder(max_num_cpu_threads=1, device_id=cpu_only, backends=[backend], options=options)

    def decode(data: bytes, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        region = codec.Region(start=(y, x), end=(y + height, x + width))
        found = decoder.decode(codec.CodeStream(data).get_sub_code_stream(region=region))
        if found is None:
            raise ValueError("nothing decoded")
        return np.asarray(found.cpu())

    return {"nvImageCodec on CPU, region": decode}


def tiles(path: Path, image: TiffImage) -> list[bytes]:
    """The largest tiles of those drawn, complete with their tables."""
    chosen = np.random.default_rng(0).permutation(len(image.counts))[: 3 * TILES]
    chosen = chosen[np.argsort(image.counts[chosen])[-TILES:]]
    with path.open("rb") as file:
        found = []
        for index in chosen.tolist():
            file.seek(int(image.offsets[index]))
            data = file.read(int(image.counts[index]))
            found.append(image.tables[:-2] + data[2:] if image.tables else data)
    return found


def _refuses(decode: Decode, data: bytes, width: int, height: int) -> bool:
    try:
        decode(data, 0, 0, width, height)
    except Exception:  # each library has its own
        return True
    return False


def main() -> None:
    """Take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?", help="a TIFF or SVS with JPEG tiles")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.slide or Path(folder) / "made.svs"
        if args.slide is None:
            periodic_slide.write(path, 7680, tile=256, step=4, levels=2, mpp=0.5, aperio=True)
        image = next(image for image in read_tiff(path) or () if image.jpeg)
        data = tiles(path, image)
    width, height = image.tile
    box = (width // 2 - PX // 2, height // 2 - PX // 2, PX, PX)
    expected = [
        RegionDecoder().decode(d, 0, 0, width, height, width)[box[1] :, box[0] :][:PX, :PX].copy() for d in data
    ]
    rng = np.random.default_rng(1)
    damaged = [d[: len(d) // 2] + rng.bytes(DAMAGE) + d[len(d) // 2 + DAMAGE :] for d in data]
    found = decoders(width)
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(ROUNDS):
        for name, decode in found.items():
            begun = time.process_time()
            for item in data:
                decode(item, *box)
            times[name].append((time.process_time() - begun) / len(data) * 1e6)
    ratios = {}
    for name, decode in found.items():
        pairs = zip(data, expected, strict=True)
        worst = max(int(np.abs(decode(d, *box).astype(int) - e).max()) for d, e in pairs)
        noticed = sum(_refuses(decode, d, width, height) for d in damaged)
        spent = statistics.median(times[name])
        ratios[name] = round(statistics.median(times["imagecodecs, whole tile"]) / spent, 2)
        print(f"{name:30} {spent:6.0f} us  differs by {worst:3}  refuses {noticed:2} of {len(data)} damaged")
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
