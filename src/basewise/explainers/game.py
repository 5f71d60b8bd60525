"""Explaining by perturbation is a game: which units are present -> one number.

An estimator is a generator: it yields coalitions (n, u) bool and receives their values (n,).
So the estimators of many records run side by side, and their coalitions share batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from basewise.types import Bools, Floats

__all__ = ["Board", "Estimate", "Game", "Play", "play", "play_one"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator found: scores (u,), their standard errors, and what else it reports."""

    scores: Floats
    standard_error: Floats | None = None
    extras: Mapping[str, float] = field(default_factory=dict)


Play = Generator[Bools, Floats, Estimate]


class Board(Protocol):
    """What a game is played on; see `models.evaluator.Switchboard`."""

    @property
    def n_units(self) -> int: ...

    @property
    def draws(self) -> int: ...


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

    @property
    def evaluations(self) -> int:
        return len(self._seen) * self._draws

    @property
    def full(self) -> float:
        return self._seen[_keys(np.ones((1, self.n_units), bool))[0]]

    @property
    def empty(self) -> float:
        return self._seen[_keys(np.zeros((1, self.n_units), bool))[0]]

    def unknown(self, present: Bools) -> tuple[list[bytes], Bools]:
        """The distinct coalitions among (n, u) that were never valued, with their keys."""
        first = {key: row for row, key in enumerate(_keys(present)) if key not in self._seen}
        return list(first), present[list(first.values())]

    def learn(self, keys: list[bytes], values: Floats) -> None:
        """Take note of values, (m,)."""
        self._seen.update(zip(keys, values.tolist(), strict=True))

    def values(self, present: Bools) -> Floats:
        """Values, (n,), of coalitions that are all known."""
        return np.array([self._seen[key] for key in _keys(present)])


def _keys(present: Bools) -> list[bytes]:
    packed = np.packbits(present, axis=1)
    text, width = packed.tobytes(), packed.shape[1]
    return [text[i : i + width] for i in range(0, len(text), width)]


@dataclass(eq=False)
class _Player(Generic[T, B]):
    name: T
    game: Game
    board: B
    moves: Play
    asked: Bools


def play(
    boards: Iterable[tuple[T, B, Callable[[Game], Play]]],
    evaluate: Callable[[Sequence[tuple[B, Bools]]], list[Floats]],
    rows_at_once: int = 4096,
) -> Iterator[tuple[T, Game, Estimate]]:
    """Play the games of many records side by side, and give each back when it is over.

    Parameters
    ----------
    boards : iterable of (name, board, estimator)
        Drawn as room allows, so that memory does not grow with their number.
    evaluate : callable
        Values of coalitions of several boards at once.
    rows_at_once : int
        New games are started until this many rows wait.
    """
    waiting = iter(boards)
    players: list[_Player[T, B]] = []
    while True:
        rows = sum(len(player.asked) * player.board.draws for player in players)
        while rows < rows_at_once and (new := next(waiting, None)) is not None:
            players.append(_seated(*new))
            rows += len(players[-1].asked) * players[-1].board.draws
        if not players:
            return
        _answer(players, evaluate)
        still = []
        for player in players:
            try:
                player.asked = player.moves.send(player.game.values(player.asked))
                still.append(player)
            except StopIteration as stop:
                yield player.name, player.game, stop.value
        players = still


def _seated(name: T, board: B, estimator: Callable[[Game], Play]) -> _Player[T, B]:
    game = Game(board.n_units, board.draws)
    moves = _opened(game, estimator)
    return _Player(name, game, board, moves, next(moves))


def _opened(game: Game, estimator: Callable[[Game], Play]) -> Play:
    """Value both ends before the estimator begins, so that it may use them."""
    yield np.stack([np.ones(game.n_units, bool), np.zeros(game.n_units, bool)])
    return (yield from estimator(game))


def _answer(
    players: Sequence[_Player[T, B]],
    evaluate: Callable[[Sequence[tuple[B, Bools]]], list[Floats]],
) -> None:
    new = [player.game.unknown(player.asked) for player in players]
    found = evaluate([(p.board, rows) for p, (_, rows) in zip(players, new, strict=True)])
    for player, (keys, _), values in zip(players, new, found, strict=True):
        player.game.learn(keys, values)


@dataclass(frozen=True)
class _Function:
    """The board of a plain set function."""

    n_units: int
    draws: int = 1


def play_one(
    value: Callable[[Bools], Floats], n_units: int, estimator: Callable[[Game], Play]
) -> tuple[Game, Estimate]:
    """Play one game of a set function `(n, u) bool -> (n,) float` without any model."""
    (_, game, estimate), *_ = play(
        [("", _Function(n_units), estimator)], lambda asked: [value(rows) for _, rows in asked]
    )
    return game, estimate
