"""An open-loop schedule."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.schedule import Schedule


def test_a_schedule_has_a_count_and_an_interval() -> None:
    assert (Schedule(50, 2).count, Schedule(50, 2).interval) == (100, 0.02)
    assert Schedule(0.1, 1).count == 1


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (1, 0), (-1, 1)])
def test_an_empty_schedule_is_refused(rate: Any, seconds: Any) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Schedule(rate, seconds)
