"""`mine ask`: it tells what it understood, answers as `mine find` does, and refuses the rest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mining.tag import tag
from schemas.labels import Daylight, Weather
from tests.mining.test_tag import braking_log, lake_of


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ask") / "lake"
    made = lake_of(
        folder,
        [
            braking_log("hard in rain", weather=Weather.RAIN, daylight=Daylight.NIGHT),
            braking_log("hard in the sun", weather=Weather.CLEAR),
        ],
    )
    tag(made)
    return folder


def mine(*arguments: str, lake: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.app", "--lake", str(lake), "mine", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


QUERY = "hard_brake(ego) and weather is rain"


def test_words_are_answered_as_their_query_is(lake: Path) -> None:
    asked = mine("ask", "The ego brakes hard in the rain.", lake=lake)
    assert asked.returncode == 0, asked.stderr
    assert asked.stderr.splitlines()[0] == f"understood: {QUERY}"
    found = mine("find", QUERY, lake=lake)
    assert asked.stdout == found.stdout
    assert "hard in rain" in asked.stdout


def test_the_query_is_told_once(lake: Path) -> None:
    asked = mine("ask", "The ego brakes hard in the rain.", lake=lake)
    assert (asked.stdout + asked.stderr).count(QUERY) == 1
    assert mine("find", QUERY, lake=lake).stderr.splitlines()[0] == QUERY


def test_json_is_that_of_find_and_the_words(lake: Path) -> None:
    words = "the ego brakes hard in the rain"
    asked = json.loads(mine("ask", words, "--json", lake=lake).stdout)
    found = json.loads(mine("find", QUERY, "--json", lake=lake).stdout)
    assert asked == {"words": words, **found}
    assert asked["total"] == 1


def test_what_is_not_understood_is_refused(lake: Path) -> None:
    done = mine("ask", "the ego softly brakes", lake=lake)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "`softly` is no word that I know (character 9)" in done.stderr


def test_explain_runs_nothing_and_vocabulary_lists_phrases(lake: Path) -> None:
    told = json.loads(mine("ask", "the ego swerves", "--explain", "--json", lake=lake).stdout)
    assert (told["words"], told["query"]) == ("the ego swerves", "swerve(ego)")
    assert "SELECT" in told["plan"]
    rows = json.loads(mine("ask", "--vocabulary", "--json", lake=lake).stdout)
    assert {"means": "cut_in", "say": "cut in"} in rows
