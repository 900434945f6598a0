"""Random numbers of generated datasets: one independent stream per sample and purpose."""

from __future__ import annotations

from numpy.random import Generator, Philox, SeedSequence


def random_stream(seed: int, *place: int) -> Generator:
    """A stream that depends on the seed and the place alone, so samples can be made in any order and by any process.

    Args:
        seed: the dataset's.
        place: non-negative whole numbers that say what the stream is for, such as (split, sample, purpose).
    """
    return Generator(Philox(SeedSequence(seed, spawn_key=place)))
