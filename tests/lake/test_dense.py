import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.dense import (
    SIGNAL_DTYPES,
    TRACK_DTYPES,
    canonical,
    pack_signals,
    pack_tracks,
    unpack_signals,
    unpack_tracks,
)
from lake.scenes import scenes_of
from schemas.scene import Signals, Tracks
from tests.builders import make_crossing_log


def drawn_tracks(agents: int, steps: int, seed: int) -> Tracks:
    rng = np.random.default_rng(seed)
    shapes = {"track_id": (agents,), "cls": (agents,), "size": (agents, 3),
              "xy": (agents, steps, 2), "velocity": (agents, steps, 2)}  # fmt: skip
    return canonical(
        Tracks(
            **{
                name: rng.normal(0.0, 50.0, shapes.get(name, (agents, steps))).astype(kind)
                for name, kind in TRACK_DTYPES.items()
            }
        )
    )


@given(agents=st.integers(0, 5), steps=st.integers(0, 12), seed=st.integers(0, 2**32 - 1))
def test_what_is_packed_is_unpacked(agents, steps, seed):
    tracks = drawn_tracks(agents, steps, seed)
    again = unpack_tracks(pack_tracks(tracks))
    for name, kind in TRACK_DTYPES.items():
        before, after = getattr(tracks, name), getattr(again, name)
        assert after.dtype == np.dtype(kind)
        np.testing.assert_array_equal(before, after)


def test_signals_round_trip():
    signals = scenes_of(make_crossing_log())[0].signals
    again = unpack_signals(pack_signals(signals))
    for name in SIGNAL_DTYPES:
        np.testing.assert_array_equal(getattr(signals, name), getattr(again, name))
    assert unpack_signals(pack_signals(Signals.none(7))).state.shape == (0, 7)


def test_unpacking_copies_nothing():
    data = pack_tracks(drawn_tracks(3, 5, 0))
    xy = unpack_tracks(data).xy
    assert not xy.flags.writeable
    assert not xy.flags.owndata


def test_other_bytes_are_refused():
    with pytest.raises(ValueError, match="layout v1"):
        unpack_tracks(b"parquet?")
    with pytest.raises(ValueError, match=r"buffer|offset"):
        unpack_tracks(pack_tracks(drawn_tracks(3, 5, 0))[:-40])
