"""Angles one by one are those of whole arrays, to the bit."""

from __future__ import annotations

import numpy as np

from geometry.angle_loops import wrapped
from geometry.angles import wrap


def test_one_by_one_they_are_wrapped_as_arrays_are() -> None:
    half = np.pi * np.arange(-6, 7)
    beside = np.concatenate([np.nextafter(half, -np.inf), half, np.nextafter(half, np.inf)])
    angles = np.concatenate([beside, np.random.default_rng(0).uniform(-50.0, 50.0, 10_000)])
    one_by_one = np.array([wrapped(float(a)) for a in angles])
    assert np.array_equal(one_by_one, wrap(angles))
    assert (one_by_one > -np.pi).all()
    assert (one_by_one <= np.pi).all()
