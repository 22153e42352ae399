"""Ids of events: no two alike, and sorted as they were given, whatever the clock does."""

import threading
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.events import EventIds


def test_an_id_is_a_uuid_of_version_7_that_holds_its_time():
    made = uuid.UUID(EventIds().next(1_790_000_000.123))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == 1_790_000_000_123


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.floats(1.7e9, 1.8e9), max_size=20))
@settings(deadline=None)
def test_ids_sort_as_they_were_given_whatever_the_clock_does(times):
    new_id = EventIds().next
    ids = [new_id(time_s) for time_s in times]
    assert ids == sorted(set(ids))
    assert all(uuid.UUID(each).version == 7 for each in ids)


def test_a_clock_at_the_end_of_days_leaves_room_for_more():
    new_id = EventIds().next
    ids = [new_id(1e300) for _ in range(10_000)]
    assert ids == sorted(set(ids))


def test_more_than_a_millisecond_can_count_run_into_the_next():
    new_id = EventIds().next
    ids = [new_id(1.7e9) for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert uuid.UUID(ids[-1]).int >> 80 == 1_700_000_000_001


@pytest.mark.parametrize("tags", [(None, None), ("a", "b")])
def test_two_services_never_give_the_same(tags):
    one, other = map(EventIds, tags)
    assert {one.next(1.7e9) for _ in range(100)}.isdisjoint(other.next(1.7e9) for _ in range(100))


def test_threads_share_them():
    new_id, ids = EventIds().next, []
    threads = [threading.Thread(target=lambda: ids.extend([new_id(1.7e9) for _ in range(500)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 2000


def test_a_tag_makes_them_the_same_again():
    assert EventIds("a").next(1.7e9) == EventIds("a").next(1.7e9)
