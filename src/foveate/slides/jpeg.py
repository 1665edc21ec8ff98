"""Part of a JPEG image: only the rows and columns that are needed are transformed.

libjpeg-turbo's partial decompression, through the TurboJPEG 3 library and ctypes: of what was compared (see
docs/design.md), the only decoder that is fast on a small region and also stops at damaged data, as OpenSlide does.
Others return grey or garbled pixels for it without a word.
"""

import contextlib
import ctypes
import importlib.metadata
import sys
import threading
from ctypes.util import find_library
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Of turbojpeg.h, version 3
_DECOMPRESS = 1
_RGB = 0
_STOP_ON_WARNING, _SUBSAMPLING = 0, 4
_SAMPLE_BLOCK_PX = {0: 8, 1: 16, 2: 16, 3: 8, 4: 8, 5: 32, 6: 8}  # TJSAMP_* to the width of one block of samples
_MARGIN_PX = 2  # colour is interpolated from neighbours, which the region must therefore hold


class JpegError(Exception):
    """Data that is no JPEG, or a damaged one."""


class _Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("x", "y", "w", "h")]


@cache
def library() -> tuple[str, ctypes.CDLL] | None:
    """The file name of TurboJPEG 3 and its handle; None where it is not installed.

    Looked for in the environment's own folder (conda), in the system, and in the wheel `turbojpeg`.
    """
    found = [*sorted(Path(sys.prefix, "lib").glob("libturbojpeg.*"))]
    if system := find_library("turbojpeg"):
        found.append(Path(system))
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        wheel = importlib.metadata.files("turbojpeg") or []
        found += [Path(str(file.locate())) for file in wheel if file.name.startswith("libturbojpeg")]
    for path in found:
        try:
            handle = ctypes.CDLL(str(path))
            _declare(handle)
        except (OSError, AttributeError):  # no library, or an older version without these functions
            continue
        return path.name, handle
    return None


class RegionDecoder:
    """Decodes regions of JPEG images to RGB. Any number of threads may share it."""

    def __init__(self) -> None:
        found = library()
        if found is None:
            raise JpegError("TurboJPEG 3 is not installed")
        _, self._library = found
        self._own = threading.local()

    def decode(self, data: bytes, x: int, y: int, width: int, height: int, image_width: int) -> NDArray[np.uint8]:
        """The `width` x `height` px at (x, y) of an image that is `image_width` px wide, (height, width, 3).

        Equal to the same pixels of the whole decoded image. The array is valid until the thread's next call.
        Damage below the region is not seen.

        Raises
        ------
        JpegError
            If the data up to the last row of the region is damaged, or the region is not within the image.
        """
        if x < 0 or width < 1 or x + width > image_width or height < 1:  # TurboJPEG takes 0 rows for all
            raise JpegError(f"{width} x {height} px at ({x}, {y}) are not within its {image_width} columns")
        handle = self._header(data)
        block = _SAMPLE_BLOCK_PX.get(self._library.tj3Get(handle, _SUBSAMPLING))
        if block is None:
            raise JpegError("its colour subsampling is unknown")
        left = max(0, x - _MARGIN_PX) // block * block
        wide = min(x + width + _MARGIN_PX, image_width) - left
        scratch = self._scratch(wide * height * 3)
        self._decompress(handle, data, _Region(left, y, wide, height), scratch)
        return scratch[: wide * height * 3].reshape(height, wide, 3)[:, x - left : x - left + width]

    def decode_whole(self, data: bytes, width: int, height: int) -> NDArray[np.uint8]:
        """A `width` x `height` px image, (height, width, 3), in an array of its own. Raises JpegError as `decode`."""
        handle = self._header(data)
        found = np.empty((height, width, 3), np.uint8)
        self._decompress(handle, data, _Region(0, 0, width, height), found)
        return found

    def _header(self, data: bytes) -> int:
        """The thread's decompressor, which has read the header."""
        if not hasattr(self._own, "handle"):
            self._own.handle = _Handle(self._library)
        handle: int = self._own.handle.address
        if self._library.tj3DecompressHeader(handle, data, len(data)):
            raise self._failure(handle)
        return handle

    def _decompress(self, handle: int, data: bytes, region: _Region, target: NDArray[np.uint8]) -> None:
        if self._library.tj3SetCroppingRegion(handle, region) or (
            self._library.tj3Decompress8(handle, data, len(data), target.ctypes.data, 0, _RGB)
        ):
            raise self._failure(handle)

    def _scratch(self, size: int) -> NDArray[np.uint8]:
        """At least `size` bytes that the thread uses again and again."""
        scratch: NDArray[np.uint8] | None = getattr(self._own, "scratch", None)
        if scratch is None or scratch.size < size:
            scratch = self._own.scratch = np.empty(size, np.uint8)
        return scratch

    def _failure(self, handle: int) -> JpegError:
        """What went wrong. The thread gets a new decompressor: this one may refuse good data from now on."""
        message = self._library.tj3GetErrorStr(handle).decode(errors="replace")
        del self._own.handle
        return JpegError(message)


@cache
def shared_decoder() -> RegionDecoder:
    """One decoder for all slides: each of its threads keeps a buffer as large as the largest tile."""
    return RegionDecoder()


class _Handle:
    """A decompressor that is freed with its thread."""

    def __init__(self, turbojpeg: ctypes.CDLL) -> None:
        self._library = turbojpeg
        self.address = turbojpeg.tj3Init(_DECOMPRESS)
        if not self.address:
            raise MemoryError("TurboJPEG made no decompressor")
        turbojpeg.tj3Set(self.address, _STOP_ON_WARNING, 1)

    def __del__(self) -> None:
        self._library.tj3Destroy(self.address)


def _declare(handle: ctypes.CDLL) -> None:
    pointer, data, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    for name, result, arguments in (
        ("tj3Init", pointer, [number]),
        ("tj3Destroy", None, [pointer]),
        ("tj3Set", number, [pointer, number, number]),
        ("tj3Get", number, [pointer, number]),
        ("tj3GetErrorStr", data, [pointer]),
        ("tj3DecompressHeader", number, [pointer, data, size]),
        ("tj3SetCroppingRegion", number, [pointer, _Region]),
        ("tj3Decompress8", number, [pointer, data, size, pointer, number, number]),
    ):
        function = getattr(handle, name)
        function.restype, function.argtypes = result, arguments
