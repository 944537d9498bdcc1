"""A few of the kills of ``benchmarks/crash.py``, which tells what is looked at."""

from benchmarks.crash import crash


def test_killed_writers_lose_nothing(tmp_path):
    said: list[str] = []
    tallies = crash(tmp_path, kills=8, seed=7, both=1.0, tell=said.append)
    assert said == []
    assert sum(tally.kills.total() for tally in tallies.values()) >= 8
    assert sum(tally.commits for tally in tallies.values()) > 0
    assert {kind: tally.faults for kind, tally in tallies.items()} == dict.fromkeys(tallies, 0)
