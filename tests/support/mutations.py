"""Mutations of messages: flipped bits, lies about lengths, cuts, splices, doubled frames."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Mutator"]

Frames = list[bytes]

# First bytes of msgpack that say how much follows: strings, bytes, arrays, maps.
_LENGTHS = frozenset((*range(0x80, 0xC0), *range(0xC4, 0xCA), *range(0xD9, 0xE0)))
_LIES = (0x00, 0x7F, 0x8F, 0x9F, 0xBF, 0xC6, 0xC9, 0xDB, 0xDD, 0xDF, 0xFF)


class Mutator:
    """Endless mutations of valid messages; the same for the same seed.

    Parameters
    ----------
    originals : sequence of lists of bytes
        Frames of valid messages.
    seed : int

    Examples
    --------
    >>> mutated = iter(Mutator([[b"one", b"message"]], seed=1))
    >>> next(mutated) != next(mutated)
    True
    """

    def __init__(self, originals: Sequence[Sequence[bytes]], seed: int) -> None:
        self._originals = [list(frames) for frames in originals]
        self._random = random.Random(seed)
        self._kinds: tuple[Callable[[Frames], Frames], ...] = (
            self._flip,
            self._flip,
            self._lie,
            self._lie,
            self._cut,
            self._splice,
            self._shuffle,
        )

    def __iter__(self) -> Iterator[Frames]:
        """Yield mutated messages without end."""
        while True:
            frames = list(self._random.choice(self._originals))
            for _ in range(self._random.choice((1, 1, 1, 2, 4))):
                frames = self._random.choice(self._kinds)(frames)
            yield frames

    def _edited(self, frames: Frames, edit: Callable[[bytearray], None]) -> Frames:
        filled = [number for number, frame in enumerate(frames) if frame]
        if not filled:
            return frames
        number = self._random.choice(filled)
        frame = bytearray(frames[number])
        edit(frame)
        return [*frames[:number], bytes(frame), *frames[number + 1 :]]

    def _flip(self, frames: Frames) -> Frames:
        def flip(frame: bytearray) -> None:
            for _ in range(self._random.choice((1, 1, 2, 8))):
                bit = self._random.randrange(8 * len(frame))
                frame[bit // 8] ^= 1 << bit % 8

        return self._edited(frames, flip)

    def _lie(self, frames: Frames) -> Frames:
        def lie(frame: bytearray) -> None:
            at = [place for place, byte in enumerate(frame) if byte in _LENGTHS]
            place = self._random.choice(at) if at else self._random.randrange(len(frame))
            frame[place] = self._random.choice(_LIES)

        return self._edited(frames, lie)

    def _cut(self, frames: Frames) -> Frames:
        def cut(frame: bytearray) -> None:
            place = self._random.randrange(len(frame))
            if self._random.random() < 0.5:
                del frame[place:]
            else:
                frame += bytes(self._random.randrange(1, 64))

        return self._edited(frames, cut)

    def _splice(self, frames: Frames) -> Frames:
        other = self._random.choice(self._random.choice(self._originals))

        def splice(frame: bytearray) -> None:
            place, start = (
                self._random.randrange(len(frame)),
                self._random.randrange(len(other) + 1),
            )
            piece = other[start : start + self._random.randrange(1, 64)]
            frame[place : place + self._random.choice((0, len(piece)))] = piece

        return self._edited(frames, splice)

    def _shuffle(self, frames: Frames) -> Frames:
        number = self._random.randrange(len(frames)) if frames else 0
        match self._random.randrange(4):
            case 0:
                return frames[:number] + frames[number + 1 :]
            case 1:
                return frames[:number] + frames[number : number + 1] * 2 + frames[number + 1 :]
            case 2:
                return self._random.sample(frames, len(frames))
            case _:
                return [*frames, b""]
