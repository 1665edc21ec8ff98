"""From slide classes to pN stages, and how good they are: plain numpy."""
