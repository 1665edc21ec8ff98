import math
from collections.abc import Callable
from typing import Any

import pytest

from foveate.attention.settings import above, at_least, pair, whole
from foveate.errors import FoveateError


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (lambda v: whole("n", v, 2), [2, 3, 10**9], [1, -2, 2.0, True, "2", None, [2]]),
        (lambda v: at_least("n", v, 0), [0, 0.5, 10**9], [-1e-9, math.inf, math.nan, True, "1", None]),
        (lambda v: at_least("n", v, 0, 1), [0, 0.5, 1], [-1e-9, 1.01, math.nan]),
        (lambda v: above("n", v, 0), [1e-9, 3], [0, -1, math.inf, math.nan, "1"]),
        (lambda v: above("n", v, 0, 1), [1e-9, 0.999], [0, 1, 2]),
        (lambda v: pair("n", v), [(1, 2), [3, 4]], [3, [3], [1, 2, 3], [1, 0], [1, 2.0], "12", None]),
    ],
)
def test_what_is_refused_and_what_is_not(check: Callable[[Any], None], good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(FoveateError) as error:
            check(value)
        assert str(error.value).startswith(f"n: {value!r}; expected ")
