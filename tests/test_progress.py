"""Plain lines of progress: how far, how long, how long still."""

import pytest

from heedful import progress
from heedful.progress import Meter


def test_time_left_goes_by_the_speed_of_this_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    meter = Meter("training", 1.0, None, done=0.5)
    now += 60.0
    meter.update(0.6, "step 7")  # a tenth in a minute: four minutes for the other four
    assert capsys.readouterr().err == "training 60% after 1:00, 4:00 left  step 7\n"
    now += 1.0
    meter.update(0.61)
    assert capsys.readouterr().err == ""
