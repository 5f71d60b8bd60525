"""Time of work that is killed and continued."""

import time

from basewise.study.clock import Clock


def test_time_of_earlier_attempts_counts(tmp_path):
    first = Clock(tmp_path / "work" / "seconds")
    time.sleep(0.02)
    first.save(every=0)
    second = Clock(tmp_path / "work" / "seconds")
    assert second.seconds >= 0.02
    time.sleep(0.01)
    assert second.seconds >= 0.03


def test_time_is_kept_no_more_often_than_asked(tmp_path):
    clock = Clock(tmp_path / "seconds")
    clock.save(every=60)
    assert not (tmp_path / "seconds").exists()
