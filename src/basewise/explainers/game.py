"""Explaining by perturbation is a game: which units are present -> one number.

An estimator is a generator: it yields coalitions (n, u) bool and receives their values (n,).
So the estimators of many records run side by side, and their coalitions share batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from basewise.types import Bools, Floats

__all__ = ["Board", "Estimate", "Game", "Play", "play", "play_one"]

ROWS_AT_ONCE = 4096  # rows that wait for a value at one time
LONG = 1024  # tokens; longer rows count as several, so that memory stays bounded


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator found: scores (u,), their standard errors, and what else it reports."""

    scores: Floats
    standard_error: Floats | None = None
    extras: Mapping[str, float] = field(default_factory=dict)


Play = Generator[Bools, Floats, Estimate]
"""Yields coalitions (n, u), receives their values (n,), returns an `Estimate`."""


class Board(Protocol):
    """What a game is played on; see `models.evaluator.Switchboard`."""

    @property
    def n_units(self) -> int: ...

    @property
    def draws(self) -> int: ...

    @property
    def width(self) -> int: ...


B = TypeVar("B", bound=Board)
T = TypeVar("T")


class Game:
    """What one record's estimator may know: the number of units and the two ends.

    Never asks for a coalition twice; `evaluations` counts the rows paid for, exactly.

    Attributes
    ----------
    n_units : int
    full, empty : float
        Values with every unit present, and with none.
    """

    def __init__(self, n_units: int, draws: int = 1):
        self.n_units, self._draws = n_units, draws
        self._seen: dict[bytes, float] = {}
        self._full, self._empty = keys_of(self.ends)

    @property
    def ends(self) -> Bools:
        """The coalition of all units and the empty one, (2, u)."""
        return np.stack([np.ones(self.n_units, bool), np.zeros(self.n_units, bool)])

    @property
    def full(self) -> float:
        return self._seen[self._full]

    @property
    def empty(self) -> float:
        return self._seen[self._empty]

    @property
    def evaluations(self) -> int:
        return len(self._seen) * self._draws

    def unknown(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The distinct keys that were never valued, each with a row that has it."""
        return {key: row for row, key in enumerate(keys) if key not in self._seen}

    def learn(self, keys: Iterable[bytes], values: Floats) -> None:
        """Take note of values, (m,)."""
        self._seen.update(zip(keys, values.tolist(), strict=True))

    def values(self, keys: Sequence[bytes]) -> Floats:
        """Values, (n,), of coalitions that are all known."""
        return np.fromiter(map(self._seen.__getitem__, keys), float, len(keys))


def keys_of(present: Bools) -> list[bytes]:
    """A key for each coalition, (n, u)."""
    packed = np.packbits(present, axis=1)
    text, width = packed.tobytes(), packed.shape[1]
    return [text[i : i + width] for i in range(0, len(text), width)]


class _Player(Generic[T, B]):
    """A record's estimator in the middle of its game."""

    def __init__(self, name: T, board: B, estimator: Callable[[Game], Play]):
        self.name, self.board = name, board
        self.game = Game(board.n_units, board.draws)
        self._moves = _opened(self.game, estimator)
        self._keys: list[bytes] | None = None

    def ask(self) -> Bools:
        """The coalitions it asks for next, (n, u); `StopIteration` holds its estimate."""
        if self._keys is None:
            asked = next(self._moves)
        else:
            asked = self._moves.send(self.game.values(self._keys))
        self._keys = keys_of(asked)
        new = self.game.unknown(self._keys)
        self._new = list(new)
        return asked[list(new.values())]

    def hear(self, values: Floats) -> None:
        """Take the values of what it asked for."""
        self.game.learn(self._new, values)

    def cost(self, rows: int) -> float:
        """How much room new coalitions, or at least the board, take."""
        return max(rows, 1) * self.board.draws * max(1.0, self.board.width / LONG)


def _opened(game: Game, estimator: Callable[[Game], Play]) -> Play:
    """Value both ends before the estimator begins, so that it may use them."""
    yield game.ends
    return (yield from estimator(game))


def play(
    boards: Iterable[tuple[T, B, Callable[[Game], Play]]],
    evaluate: Callable[[Sequence[tuple[B, Bools]]], list[Floats]],
) -> Iterator[tuple[T, Game, Estimate]]:
    """Play the games of many records side by side, and give each back when it is over.

    Estimators are asked, and boards drawn, only while there is room for more rows, so memory
    does not grow with the number of records. Who began first is asked first.

    Parameters
    ----------
    boards : iterable of (name, board, estimator)
    evaluate : callable
        Values of coalitions of several boards at once.
    """
    waiting = (_Player(*each) for each in boards)
    seated: deque[_Player[T, B]] = deque()
    while True:
        asked: list[tuple[_Player[T, B], Bools]] = []
        room: float = ROWS_AT_ONCE
        while room > 0:
            player = seated.popleft() if seated else next(waiting, None)
            if player is None:
                break
            try:
                rows = player.ask()
            except StopIteration as stop:
                yield player.name, player.game, stop.value
                continue
            asked.append((player, rows))
            room -= player.cost(len(rows))
        if not asked:
            return
        found = evaluate([(player.board, rows) for player, rows in asked])
        for (player, _), values in zip(asked, found, strict=True):
            player.hear(values)
        seated.extendleft(player for player, _ in reversed(asked))


@dataclass(frozen=True)
class _Function:
    """The board of a plain set function."""

    n_units: int
    draws: int = 1
    width: int = 1


def play_one(
    value: Callable[[Bools], Floats], n_units: int, estimator: Callable[[Game], Play]
) -> tuple[Game, Estimate]:
    """Play one game of a set function `(n, u) bool -> (n,) float` without any model."""
    (_, game, estimate), *_ = play(
        [("", _Function(n_units), estimator)], lambda asked: [value(rows) for _, rows in asked]
    )
    return game, estimate
