"""The pace, on a clock of its own."""

from __future__ import annotations

import pytest

from dagster_project.destinations.hubspot.pace import FIRST_WAIT, Pace


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("dagster_project.destinations.parts.pace.time", made)
    return made


def headers(most: int, remaining: int, **more: int) -> dict[str, str]:
    return {
        "X-HubSpot-RateLimit-Max": str(most),
        "X-HubSpot-RateLimit-Remaining": str(remaining),
        "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        **{f"X-HubSpot-RateLimit-{name.replace('_', '-')}": str(number) for name, number in more.items()},
    }


def waits(pace: Pace, clock: Clock) -> float | None:
    return pace.wait_at(clock.now)


def test_a_share_of_the_limit_is_used_and_a_slot_is_free_an_interval_after_the_answer(clock: Clock) -> None:
    pace = Pace(rate_share=0.5)
    for i in range(5):
        pace.take()
        clock.now += 0.1
        pace.give_back(headers(10, 9 - i))
    assert waits(pace, clock) == pytest.approx(9.6)
    clock.now = 10.1
    assert waits(pace, clock) == 0


def test_no_slot_is_wasted(clock: Clock) -> None:
    pace, sent = Pace(), []
    for _ in range(80):
        while wait := waits(pace, clock):
            clock.now += wait
        pace.take()
        sent.append(clock.now)
        used = sum(at > clock.now - 10 for at in sent)
        pace.give_back(headers(20, 20 - used))
    assert sent == [10.0 * (i // 20) for i in range(80)]


def test_what_others_use_is_not_ours(clock: Clock) -> None:
    pace = Pace()
    pace.take()
    pace.give_back(headers(190, 2))
    for _ in range(2):
        pace.take()
        pace.give_back()
    assert waits(pace, clock) == pytest.approx(10)


def test_refusals_make_everybody_wait_longer_each_time(clock: Clock) -> None:
    pace = Pace()
    for seconds in (1.0, 2.0, 4.0):
        pace.take()
        pace.refused(FIRST_WAIT["SECONDLY"], None)
        pace.give_back(is_refused=True)
        assert waits(pace, clock) == pytest.approx(seconds)
        clock.now += seconds
    pace.take()
    pace.went_through()
    pace.give_back()
    pace.take()
    pace.refused(FIRST_WAIT["SECONDLY"], 7.0)
    pace.give_back(is_refused=True)
    assert waits(pace, clock) == pytest.approx(7)


def test_never_more_than_four_refusals_in_ten_seconds(clock: Clock) -> None:
    pace = Pace()
    refused: list[float] = []
    while clock.now < 60:
        taken = 0
        while waits(pace, clock) == 0:
            pace.take()
            taken += 1
        for _ in range(taken):
            pace.refused(2.5, 0.0)
            refused.append(clock.now)
            pace.give_back(is_refused=True)
        clock.now += 0.25
    assert len(refused) > 8
    assert max(sum(at <= one < at + 10 for one in refused) for at in refused) <= 4


def test_the_day_is_used_up_at_its_share(clock: Clock) -> None:
    pace = Pace(daily_share=0.9)
    pace.take()
    pace.give_back(headers(190, 100, Daily=1000, Daily_Remaining=101))
    assert not pace.day_is_used_up
    pace.take()
    pace.give_back(headers(190, 100, Daily=1000, Daily_Remaining=100))
    assert pace.day_is_used_up
