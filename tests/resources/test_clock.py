"""Clocks when the time of day is set back or forward by hours."""

from datetime import timedelta

import pytest

from resources.clock import ScaledClock, steady_seconds

HOUR = timedelta(hours=1).total_seconds()


class Machine:
    """A machine whose time of day can be set."""

    def __init__(self) -> None:
        self.wall, self.steady = 1.8e9, 5000.0

    def pass_seconds(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self, scale: float = 1.0, **started: float) -> ScaledClock:
        return ScaledClock(scale, **started, wall=lambda: self.wall, steady=lambda: self.steady)


@pytest.mark.parametrize("hours", [-30, -1, 1, 30])
def test_setting_the_time_does_not_change_a_clock(hours: float) -> None:
    machine = Machine()
    clock = machine.clock()
    began = clock.now()
    machine.pass_seconds(10)
    machine.wall += hours * HOUR
    assert clock.now() == began + 10
    assert machine.clock().now() == machine.wall  # of a new process


def test_a_scaled_clock_advances_by_its_scale() -> None:
    machine = Machine()
    machine.pass_seconds(7)
    clock = machine.clock(60, started=100.0, started_here=machine.wall - 7)
    assert clock.now() == 100 + 7 * 60
    machine.pass_seconds(3)
    assert clock.now() == 100 + 10 * 60


def test_the_steady_counter_advances() -> None:
    first, second = steady_seconds(), steady_seconds()
    assert first <= second
