"""Scenes as a torch iterable dataset: blocks in a shuffled order, read one after the other.

Where storage is slow to seek (object stores), rows are read in blocks that lie together. Blocks are
shuffled, dealt out to the workers, and shuffled within, anew in every epoch; each scene comes once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from lake.limits import whole

if TYPE_CHECKING:
    from lake.training import SceneDataset

BLOCK = 256  # scenes that are read together


class SceneStream(IterableDataset[dict[str, Any]]):
    """The scenes of a dataset, one after the other; for ``DataLoader(stream, batch_size=…)``.

    Args:
        data: With a configuration if samples are to be stacked.
        seed: Of the order; equal seeds and epochs give equal orders, for any number of workers the
            same blocks.
        shuffle: Whether to shuffle at all.

    Raises:
        BadQuery: The seed can be none.
    """

    def __init__(self, data: SceneDataset, *, seed: int = 0, shuffle: bool = True) -> None:
        self._data, self._shuffle = data, shuffle
        self._seed = whole("seed", seed, least=0, most=2**63 - 1)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next; without it each pass over the stream is one."""
        self._epoch = whole("epoch", epoch, least=0, most=2**63 - 1)

    def __len__(self) -> int:
        """How many scenes in all."""
        return len(self._data)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The scenes of this worker."""
        rng = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        starts = np.arange(0, len(self._data), BLOCK)
        if self._shuffle:
            rng.shuffle(starts)
        worker = get_worker_info()
        if worker is not None:
            starts = starts[worker.id :: worker.num_workers]
        for start in starts.tolist():
            block = np.arange(start, min(start + BLOCK, len(self._data)))
            if self._shuffle:
                np.random.default_rng([self._seed, self._epoch, start]).shuffle(block)
            yield from self._data.__getitems__(block.tolist())
