"""Explaining by perturbation is a game: which units are present -> one number.

An estimator is a generator: it yields coalitions (n, u) bool and receives their values (n,).
So the estimators of many records run side by side, and their coalitions share batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

import numpy as np

from basewise.types import Bools, Floats

__all__ = [
    "MOST_CELLS",
    "Board",
    "Estimate",
    "Game",
    "Key",
    "Play",
    "error_of_draws",
    "first_moves",
    "play",
    "play_one",
]

ROWS_AT_ONCE = 4096  # rows that wait for a value at one time
LONG = 1024  # tokens; longer rows count as several, so that memory stays bounded
MOST_CELLS = 1 << 24  # of coalitions that an estimator should ask for at one time


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator found: scores (u,), their standard errors, and what else it reports.

    `freedom` are the degrees of freedom of the errors where few draws are behind them: that many
    make an interval wider (Student's t).
    """

    scores: Floats
    standard_error: Floats | None = None
    extras: Mapping[str, float] = field(default_factory=dict)
    freedom: float = np.inf


Play = Generator[Bools, Floats, Estimate]
"""Yields coalitions (n, u), receives their values (n,), returns an `Estimate`.

The values of both ends are known from the first answer on; an estimator that needs them before
asks for `game.ends` first. In a game of one unit they are known from the beginning.
"""


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
Key = bytes | int


class Game:
    """What one record's estimator may know: the number of units and the two ends.

    Never asks for a coalition twice; `evaluations` counts the rows paid for, exactly. The
    value of a coalition is the mean over the draws of the masking.

    Attributes
    ----------
    n_units, draws : int
    ends : (2, u) bool
        The coalition of all units and the empty one.
    full, empty : float
        Values with every unit present, and with none.
    """

    def __init__(self, n_units: int, draws: int = 1):
        self.n_units, self.draws = n_units, draws
        self._seen: dict[Key, float] = {}
        self._drawn: dict[Key, Floats] = {}
        self.ends, (self._full, self._empty) = _ends(n_units)

    @property
    def full(self) -> float:
        return self._seen[self._full]

    @property
    def empty(self) -> float:
        return self._seen[self._empty]

    @property
    def evaluations(self) -> int:
        return len(self._seen) * self.draws

    def unknown(self, keys: Sequence[Key]) -> dict[Key, int]:
        """The distinct keys that were never valued, each with a row that has it."""
        rows = dict(zip(keys, range(len(keys)), strict=True))
        if self._seen:
            for key in rows.keys() & self._seen.keys():
                del rows[key]
        return rows

    def learn(self, keys: Iterable[Key], values: Floats) -> None:
        """Take note of values, (m,), or of those of every draw, (m, draws)."""
        if self.draws > 1:
            keys = list(keys)
            self._drawn.update(zip(keys, values, strict=True))
            values = values.mean(1)
        self._seen.update(zip(keys, values.ravel().tolist(), strict=True))

    def values(self, keys: Sequence[Key]) -> Floats:
        """Values, (n,), of coalitions that are all known."""
        return np.fromiter(map(self._seen.__getitem__, keys), float, len(keys))

    def one_draw(self, draw: int) -> Game:
        """The game of a single draw, as far as it was played."""
        game = Game(self.n_units)
        game._seen = {key: float(values[draw]) for key, values in self._drawn.items()}
        return game

    def spread(self) -> dict[str, float]:
        """Standard errors that the draws leave in values; nothing where there is one draw.

        Returns
        -------
        dict
            `value_error`, the root mean square over all coalitions played, and
            `baseline_error`, that of the empty one.
        """
        if self.draws == 1:
            return {}
        values = np.stack([self._drawn[self._empty], *self._drawn.values()])
        errors = values.std(1, ddof=1) / np.sqrt(self.draws)
        return {
            "value_error": float(np.sqrt(np.mean(errors[1:] ** 2))),
            "baseline_error": float(errors[0]),
        }

    def replay(self, estimator: Callable[[Game], Play]) -> Estimate | None:
        """What the estimator finds by what is known; None where it asks for more than that."""
        moves = estimator(self)
        try:
            asked = next(moves)
            while not self.unknown(keys := keys_of(asked)):
                asked = moves.send(self.values(keys))
        except StopIteration as stop:
            found: Estimate = stop.value
            return found
        return None


@lru_cache
def _ends(n_units: int) -> tuple[Bools, list[Key]]:
    """All units, and none, (2, u), and their keys; shared by games, so not to be written to."""
    ends = np.broadcast_to([[True], [False]], (2, n_units))
    return ends, keys_of(ends)


def error_of_draws(game: Game, estimator: Callable[[], Callable[[Game], Play]]) -> Floats | None:
    """Standard errors of scores, (u,), that come from the draws of the masking.

    The estimator plays the game of each draw by itself; the scores of the mean game are their
    mean wherever it is linear in the values. Nothing is evaluated again.

    Parameters
    ----------
    estimator : callable
        Makes the estimator anew, with the random numbers it had.

    Returns
    -------
    (u,) float or None
        None with one draw, and where what the estimator asks for depends on the values it
        receives, so that other draws would have led it elsewhere.
    """
    if game.draws == 1:
        return None
    scores = []
    for draw in range(game.draws):
        estimate = game.one_draw(draw).replay(estimator())
        if estimate is None:
            return None
        scores.append(estimate.scores)
    return np.asarray(np.std(scores, axis=0, ddof=1) / np.sqrt(game.draws))


def keys_of(present: Bools) -> list[Key]:
    """A key for each coalition, (n, u): its bits, as a number where 64 are enough.

    Of more than `LONG` units a digest of 16 bytes: the bits of all would take units squared.
    """
    packed = np.packbits(present, axis=1)
    width = packed.shape[1]
    if width <= 8:
        numbers = np.zeros((len(packed), 8), np.uint8)
        numbers[:, :width] = packed
        return list(numbers.view(np.uint64).ravel().tolist())
    if present.shape[1] > LONG:
        return [blake2b(row, digest_size=16).digest() for row in packed]
    text = packed.tobytes()
    return [text[i : i + width] for i in range(0, len(text), width)]


class _Player(Generic[T, B]):
    """A record's estimator in the middle of its game."""

    def __init__(self, name: T, board: B, estimator: Callable[[Game], Play]):
        self.name, self.board = name, board
        self.game = Game(board.n_units, board.draws)
        self._moves = _opened(self.game, estimator)
        self._keys: list[Key] | None = None

    def ask(self) -> Bools:
        """The coalitions it asks for next, (n, u); `StopIteration` holds its estimate."""
        if self._keys is None:
            asked = next(self._moves)
        else:
            asked = self._moves.send(self.game.values(self._keys))
        self._keys = keys_of(asked)
        new = self.game.unknown(self._keys)
        self._new = list(new)
        return asked if len(new) == len(asked) else asked[list(new.values())]

    def hear(self, values: Floats) -> None:
        """Take the values of what it asked for."""
        self.game.learn(self._new, values)

    def cost(self, rows: int) -> float:
        """How much room new coalitions, or at least the board, take."""
        return max(rows, 1) * self.board.draws * max(1.0, self.board.width / LONG)


def _opened(game: Game, estimator: Callable[[Game], Play]) -> Play:
    """Value both ends with what the estimator asks for first, so that it may use them after that.

    They are a batch of their own otherwise, and a small one. A game of one unit has no more to it.
    """
    if game.n_units == 1:
        yield game.ends
        return (yield from estimator(game))
    moves = estimator(game)
    values = yield np.concatenate([game.ends, next(moves)])
    values = values[2:]
    while True:
        try:
            asked = moves.send(values)
        except StopIteration as stop:
            found: Estimate = stop.value
            return found
        values = yield asked


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
        Values of coalitions of several boards at once: (n,), or (n, draws) where a board has
        several.
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


def first_moves(
    boards: Iterable[tuple[T, B, Callable[[Game], Play]]],
    evaluate: Callable[[Sequence[tuple[B, Bools]]], list[Floats]],
    rows: int,
) -> Iterator[tuple[B, Bools]]:
    """What estimators ask for first, beside the ends: about so many rows for each board.

    The games are then left.
    """
    for each in boards:
        player, asked = _Player(*each), np.empty((0, each[1].n_units), bool)
        moved = player.ask()
        ends, new = moved[:2], moved[2:]
        try:
            while True:
                at = np.linspace(0, len(new) - 1, min(rows - len(asked), len(new))).astype(int)
                asked = np.concatenate([asked, new[at]])
                if len(asked) >= rows:
                    break
                player.hear(*evaluate([(player.board, moved)]))
                moved = new = player.ask()
        except StopIteration:
            asked = np.concatenate([asked, ends])
        yield player.board, asked


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
