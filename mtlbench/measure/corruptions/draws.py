"""Random numbers that depend on the image alone: not on its batch, its place in it, or the device.

A counter-based generator: the i-th 32-bit word of an image is a hash of i and of the image's 64-bit key. It uses integer
operations only, so every device computes the same bits, where they are needed, for all images of a batch at once. The hash
has the structure of `triple32` (C. Wellons, "Prospecting for hash functions", 2018) with the key added in two places; it
is meant for simulation, not for secrets.

The key is a digest of (seed, dataset, corruption, severity, image), so that no two cells of an evaluation share a stream.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import torch
from torch import Tensor


def _signed(word: int) -> int:
    """The same 32 bits read as a signed number: torch shifts and multiplies int32, not uint32."""
    return (word + 2**31) % 2**32 - 2**31


_WEYL = _signed(0x9E3779B9)
_ROUNDS = ((17, _signed(0xED5AD4BB)), (11, _signed(0xAC4C1B51)), (15, _signed(0x31848BAB)))


@lru_cache(maxsize=32)
def _weyl(words: int, device: torch.device) -> Tensor:
    return torch.arange(words, dtype=torch.int32, device=device) * _WEYL


@lru_cache(maxsize=8)
def _normal_quantiles(device: torch.device) -> Tensor:
    """The standard normal's quantiles at the middles of 65,536 equal slices; the largest is 4.3."""
    middles = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    quantiles: Tensor = torch.special.ndtri(middles)
    return quantiles.to(torch.float32).to(device)


def image_digests(seed: int, dataset: str, corruption: str, severity: int, keys: Iterable[int | str]) -> list[bytes]:
    """One 32-byte digest per image; an id counts as its text, so 7 and "7" are the same image."""
    prefix = blake2b(f"{seed}\x1f{dataset}\x1f{corruption}\x1f{severity}\x1f".encode(), digest_size=32)
    digests = []
    for key in keys:
        image = prefix.copy()
        image.update(str(key).encode())
        digests.append(image.digest())
    return digests


class Draws:
    """The random numbers of a batch of images, each with a stream of its own.

    Args:
        digests: one per image, from `image_digests`. Bytes 0-7 are the stream's key, the rest feeds `scalar`.
        device: where the numbers are wanted.
    """

    def __init__(self, digests: Sequence[bytes], device: torch.device) -> None:
        self.device = device
        self._digests = digests
        self._keys = [[int.from_bytes(d[i : i + 4], "little", signed=True) for d in digests] for i in (0, 4)]
        self._words_drawn = 0
        self._scalars_drawn = 0

    def __len__(self) -> int:
        return len(self._digests)

    def bits(self, count: int) -> Tensor:
        """Uniform random 16-bit numbers, int16 [N, count] over the whole range of int16."""
        words = (count + 1) // 2
        first, second = torch.tensor(self._keys, dtype=torch.int32).to(self.device)[..., None]
        hashed: Tensor = _weyl(words, self.device) + (first + _signed(self._words_drawn * _WEYL))
        shifted = torch.empty_like(hashed)
        for number, (shift, factor) in enumerate(_ROUNDS):
            _xor_shift(hashed, shift, shifted)
            hashed.mul_(factor)
            if number == 0:
                hashed.add_(second)
        _xor_shift(hashed, 14, shifted)
        self._words_drawn += words
        return hashed.view(torch.int16)[:, :count]

    def indices(self, *shape: int) -> Tensor:
        """Uniform numbers 0 … 65,535, int32 [N, *shape]."""
        drawn = self.bits(_product(shape)).to(torch.int32).add_(32768)
        return drawn.view(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on (-1, 1) in 65,536 steps, float32 [N, *shape]."""
        drawn = self.bits(_product(shape)).to(torch.float32).add_(0.5).mul_(1 / 32768)
        return drawn.view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal (65,536 quantiles), float32 [N, *shape]."""
        return look_up(_normal_quantiles(self.device), self.indices(*shape))

    def scalar(self, low: float, high: float) -> list[float]:
        """One uniform number per image, known to the host: for angles and offsets that decide which pixels are read."""
        start = 8 + 4 * self._scalars_drawn
        if start + 4 > len(self._digests[0]):
            raise RuntimeError("a corruption may draw six scalars per image")
        self._scalars_drawn += 1
        words = (int.from_bytes(d[start : start + 4], "little") for d in self._digests)
        return [low + (high - low) * (word + 0.5) / 2**32 for word in words]


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[index] for a flat table and an int32 index of any shape; `index_select` is the fastest gather by far."""
    return table.index_select(0, index.reshape(-1)).view(index.shape)


def _xor_shift(word: Tensor, shift: int, scratch: Tensor) -> None:
    """word ^= word >>> shift, in place. torch's shift of int32 drags the sign along, which the mask removes."""
    torch.bitwise_right_shift(word, shift, out=scratch)
    word.bitwise_xor_(scratch.bitwise_and_((1 << (32 - shift)) - 1))


def _product(shape: Sequence[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
