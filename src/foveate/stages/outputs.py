"""Where the files of a slide go, below the results folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outputs:
    """Where the four files of a slide go."""

    overview: Path
    thumbnail: Path
    tissue: Path
    status: Path

    @classmethod
    def of(cls, slide: str, results: Path) -> "Outputs":
        """The places under a results folder, as the workflow names them."""
        return cls(
            results / "overview" / f"{slide}.h5",
            results / "thumbnails" / f"{slide}.jpg",
            results / "tissue" / f"{slide}.png",
            results / "status" / f"{slide}.json",
        )
