from hypothesis import given
from hypothesis import strategies as st

from lake.ids import stable_id, stable_ids


def test_ids_never_change():
    assert stable_id("log", "built", "straight") == stable_id("log", "built", "straight")
    # A golden value: keys in lakes that exist must be found by every later version.
    assert stable_id("log", "built", "straight") == 492236965087945229


@given(st.lists(st.one_of(st.text(), st.integers(), st.none(), st.binary()), max_size=4))
def test_ids_are_positive_and_fit_an_int64(parts):
    assert 0 < stable_id(*parts) < 2**63


def test_parts_do_not_run_together():
    assert len({stable_id("ab", "c"), stable_id("a", "bc"), stable_id("abc"), stable_id("ab", 1),
                stable_id("ab", "1"), stable_id("ab", None)}) == 6  # fmt: skip


COLUMNS = st.integers(0, 6).flatmap(
    lambda count: st.lists(
        st.one_of(
            st.lists(st.one_of(st.none(), of), min_size=count, max_size=count)
            for of in (st.integers(), st.text(), st.booleans())
        ),
        min_size=1,
        max_size=4,
    )
)


@given(COLUMNS)
def test_ids_of_rows_are_those_of_each_row(columns):
    expected = [stable_id("rule", 7, *row) for row in zip(*columns, strict=True)]
    assert stable_ids("rule", 7, columns=columns).tolist() == expected
