import pytest

from foveate.stages.training.pace import LEAST, pace, rate


@pytest.mark.parametrize(
    ("losses", "patience", "halvings", "over"),
    [
        ([], 2, 0, False),
        ([0.5, 0.4, 0.3], 2, 0, False),
        ([0.5, 0.5], 2, 0, False),
        ([0.5, 0.6, 0.5], 2, 1, False),  # no better twice
        ([0.5, 0.6, 0.5, 0.4, 0.5], 2, 1, False),  # better, so it begins anew
        ([0.5, 0.6, 0.5, 0.4, 0.5, 0.4], 2, 2, False),
        ([0.5, 0.6, 0.6, 0.6, 0.6], 2, 2, False),
        ([0.5, 0.6, 0.6, 0.6, 0.6, 0.6], 2, 2, False),
        ([0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], 2, 3, True),
        ([0.5, *[0.6] * 50], 0, 0, False),
    ],
)
def test_the_rate_is_halved_where_the_loss_stands_still(
    losses: list[float], patience: int, halvings: int, over: bool
) -> None:
    found = pace(losses, patience)
    assert (found.halvings, found.over) == (halvings, over)


def test_the_rate_falls_along_a_cosine() -> None:
    assert rate(0.2, 0, 0) == 0.2
    assert rate(0.2, 0.5, 0) == pytest.approx(0.2 * (1 + LEAST) / 2)
    assert rate(0.2, 1, 0) == pytest.approx(0.2 * LEAST)
    assert rate(0.2, 0.5, 3) == pytest.approx(rate(0.2, 0.5, 0) / 8)
