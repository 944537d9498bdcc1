"""Steps at which a box jumps: a slip of the tracker, not something that anybody did.

Trackers and labellers put a box a metre or more beside its place for a step, most often just before
they lose it, and tell the velocity that goes with it. Nothing on the road does so: 1 m between two
steps of 0.1 s and the next two is 100 m/s². One such figure alone may still be a crash, which stops a
box at once. Two in a row that point against each other are none: nobody is thrown aside and back, or
thrown and caught, within two steps. So a box jumps where the second difference of its places is that
large and reverses at once, or where it is that large at the first or last step before a gap, at which
nothing can be told of the way back. Where boxes tremble all along, so large is five times what their
trembling makes it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from mining.intervals import runs
from mining.smoothing import STANDS_OUT, noise

JUMP_M = 1.0
"""[m] How far a step departs from the one before."""
SECOND_DIFFERENCE = np.sqrt(6.0)
"""Of white noise it is so much larger than the noise itself."""


def jumps(
    xy: Float[Array, "agents steps 2"], seen: Bool[Array, "agents steps"]
) -> Bool[Array, "agents steps"]:
    """Which places are not to be believed.

    Args:
        xy: Centres of boxes; those not seen mean nothing [m].
        seen: Which were observed.

    Returns:
        Every step that takes part in a jump: of a box that is off for one step, the steps before and
        after it too, whose velocities are told from it.
    """
    bad = np.zeros(seen.shape, dtype=bool)
    if seen.shape[1] < 3:
        return bad
    place = np.where(seen[..., None], xy, 0.0).astype(np.float64)
    trembles = np.maximum(noise(place[..., 0], seen), noise(place[..., 1], seen))
    most = np.maximum(JUMP_M, STANDS_OUT * SECOND_DIFFERENCE * trembles)[:, None]
    thrice = seen[:, :-2] & seen[:, 1:-1] & seen[:, 2:]
    thrown = np.where(thrice[..., None], np.diff(place, n=2, axis=1), 0.0)
    far = np.hypot(thrown[..., 0], thrown[..., 1]) > most  # of steps 1 to the last but one
    back = far[:, :-1] & far[:, 1:] & ((thrown[:, :-1] * thrown[:, 1:]).sum(axis=-1) < 0.0)
    bad[:, 1:-2] |= back
    bad[:, 2:-1] |= back
    gone_before = np.ones((len(seen), seen.shape[1] - 2), dtype=bool)
    gone_before[:, 1:] = ~seen[:, :-3]
    gone_after = np.ones_like(gone_before)
    gone_after[:, :-1] = ~seen[:, 3:]
    bad[:, :-2] |= far & gone_before
    bad[:, 2:] |= far & gone_after
    return bad & seen


def over(
    mask: Bool[Array, "rows steps"], jumped: Bool[Array, "rows steps"]
) -> Bool[Array, "rows steps"]:
    """The mask, also at jumps between two steps at which it holds.

    A box that is off for a step hides three. What holds on both sides of them went on meanwhile, as far as
    anybody can tell, and is not two things.
    """
    rows = np.flatnonzero((jumped & ~mask).any(axis=1) & mask.any(axis=1))
    if not len(rows):
        return mask
    filled = mask.copy()
    for row, begin, end in runs(~mask[rows]):
        inner = begin > 0 and end < mask.shape[1] - 1
        if inner and jumped[rows[row], begin : end + 1].all():
            filled[rows[row], begin : end + 1] = True
    return filled
