from foveate.report.training import history


def row(phase, epoch, **values):
    return {"phase": phase, "epoch": str(epoch), "loss": "", "val_loss": "", "accuracy": "", "steps": "9"} | values


def test_phases_become_bands_and_absent_values_no_chart():
    rows = [
        row("pretrain", 1, loss="1.0"),
        row("pretrain", 2, loss="0.8"),
        row("attend", 1, loss="0.6", val_loss="0.9"),
    ]
    view = history("3", rows)
    assert (view.fold, view.epochs, view.phases) == ("3", 3, ("pretrain", "attend"))
    (chart,) = view.charts
    assert (chart.title, [line.name for line in chart.lines]) == ("Loss", ["loss", "val loss"])
    assert [phase for _, _, phase in chart.bands] == ["pretrain", "attend"]


def test_one_phase_needs_no_bands():
    (chart,) = history("0", [row("attend", 1, accuracy="0.5")]).charts
    assert (chart.title, chart.bands) == ("Accuracy", ())


def test_no_epochs_no_charts():
    assert history("0", []).charts == ()
