"""How easily each base turns to Z-DNA, by published energies, as a layer that is not trained.

Every stretch of a few dinucleotides may change from B- to Z-DNA. Each of its dinucleotides is then
anti-syn or syn-anti, at a published cost, and more where neighbours differ. Given the assignment
of lowest energy, the partition function over all runs of dinucleotides inside the stretch (a
stretch with one run of Z in supercoiled DNA) says at which linking difference half of the stretch
has changed. That number is how Z-Hunt ranks sequences (Ho, Ellison, Quigley & Rich 1986, EMBO J.
5:2737).

Written from that description, and by it alone the edges of regions differ from published calls.
Three rules were read from the calls on four human chromosomes and are not in the paper: the first
two dinucleotides of a window have one form; a window is longer than its shortest only where that
one is nearly good enough by itself; and a region ends one base behind its last window. They
depend on the strand, as the calls do.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from basewise.models.onehot import OneHot
from basewise.types import Codes, Floats

__all__ = ["ZForming", "z_forming"]

# kcal/mol of a dinucleotide, first base A, C, G, T down, second across, its first base anti and
# its second syn: Ho et al. 1986, with CG at 0.66 as in Z-HUNT-2 (1990). Of the syn-anti form it
# is that of the dinucleotide read backwards: base pairs stack alike.
_ANTI_SYN = (
    (4.40, 5.20, 3.40, 6.20),
    (1.40, 2.40, 0.66, 3.40),
    (3.30, 4.20, 2.40, 5.20),
    (2.50, 3.30, 1.40, 4.40),
)
# Instead, where the dinucleotide before has the other form, by its number of G and C.
_TURNED = (6.20, 5.20, 4.00)
_HUNDREDTHS = 100
_RT = 0.59004  # kcal/mol at 298 K
_NUCLEATION = 10 / _RT  # two junctions of B and Z, 5 kcal/mol each (Peck & Wang 1983)
_SUPERCOILING = 1100 / 4363  # over RT, per square of the linking difference, in pBR322
_PER_DINUCLEOTIDE = 0.357  # turns: 2 * (1 / 10.5 + 1 / 12)
_PER_JUNCTION = 0.4  # turns
# Of random sequences, in Z-HUNT-2: what it calls probability is the tail of this normal.
_RANDOM_MEAN, _RANDOM_SD = 29.6537135, 2.71997
_TIE = 1e-3  # kcal/mol; different energies differ by more
_BETTER = 5e-3  # turns by which a longer window must be better
_GROWS = 2.818  # score of a shortest window from which on longer ones are looked at
_STEPS = 8


class ZForming(nn.Module):
    """One-hot rows (n, b, 4) to (n, b): how many standard deviations below random is best.

    The score of a base is the best of all windows that cover it, or that end just before it; that
    of a window is (29.65 - d) / 2.72, where d is the linking difference at which half of it is Z.
    Z-Hunt's customary threshold, one random window in 700, is a score of 2.98.

    Rows between two bases have energies between theirs, so gradients go through. A window that
    reaches over an end, or holds a row that is no base (of zeros), pays the highest energy there.

    Parameters
    ----------
    shortest, longest : int
        Dinucleotides of the windows. One begins at every base; where its shortest scores at least
        2.818, it has the length that is best.
    """

    energy: Tensor

    def __init__(self, shortest: int = 6, longest: int = 12) -> None:
        super().__init__()
        self.shortest, self.longest = shortest, longest
        self.register_buffer("energy", torch.empty(3, 4, 4, dtype=torch.int16), persistent=False)
        self.reset()

    def reset(self) -> None:
        """Fill the table again: it is no part of a checkpoint, and whole numbers stay exact."""
        strong = torch.tensor([0, 1, 1, 0])
        anti_syn = torch.tensor(_ANTI_SYN)
        turned = torch.tensor(_TURNED)[strong[:, None] + strong]
        table = torch.stack([anti_syn, anti_syn.T, turned]) * _HUNDREDTHS
        self.energy.copy_(table.round())

    def forward(self, x: Tensor) -> Tensor:
        around = 2 * self.longest
        with torch.autocast(x.device.type, enabled=False):
            scores, lengths = self.windows(functional.pad(x.float(), (0, 0, around, around - 1)))
            found = []
            for length in range(self.shortest, self.longest + 1):
                if length > self.shortest and not bool((lengths == length).any()):
                    continue
                own = scores.masked_fill(lengths != length, -torch.inf)
                covered = functional.max_pool1d(own, 2 * length + 1, 1)
                found.append(covered[:, around - 2 * length :][:, : x.shape[1]])
            best = torch.stack(found).amax(0)
        return best.to(x.dtype)

    def windows(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The score and the dinucleotides, (n, b - 2 * longest + 1) each, of windows by start."""
        costs = self._energies(x)
        starts = x.shape[1] - 2 * self.longest + 1
        scores = _score(_assigned(_window(costs, starts, self.shortest)))
        lengths = torch.full(scores.shape, self.shortest, device=x.device)
        row, start = (scores >= _GROWS).nonzero(as_tuple=True)
        if self.longest > self.shortest and len(row):
            at = start[:, None] + 2 * torch.arange(self.longest, device=x.device)
            score, length = _grown(costs[:, row[:, None], at], scores[row, start], self.shortest)
            scores = scores.index_put((row, start), score)
            lengths[row, start] = length
        return scores, lengths

    def assigned(self, x: Tensor) -> Tensor:
        """Energies (n, b - 2 * shortest + 1, shortest) of shortest windows, of lowest sum."""
        starts = x.shape[1] - 2 * self.shortest + 1
        return _assigned(_window(self._energies(x), starts, self.shortest))

    def _energies(self, x: Tensor) -> Tensor:
        """kcal/mol, (3, n, b - 1), of each dinucleotide: anti-syn, syn-anti, or turned."""
        first, second = x[:, :-1], x[:, 1:]
        lacking = 1 - first.sum(-1) * second.sum(-1)
        table = self.energy.float() / _HUNDREDTHS
        return torch.stack(
            [((first @ each) * second).sum(-1) + _TURNED[0] * lacking for each in table]
        )


def z_forming(codes: Codes) -> Floats:
    """The score of `ZForming` of sequences of one length.

    Parameters
    ----------
    codes : (n, b) codes
        A 0, C 1, G 2, T 3, N 4.

    Returns
    -------
    (n, b) float
    """
    embed, layer = OneHot(), ZForming()
    with torch.inference_mode():
        rows = [layer(embed(torch.from_numpy(some.astype(np.int64)))) for some in _parts(codes)]
    return torch.cat(rows).double().numpy()


def _parts(codes: Codes) -> list[Codes]:
    """Rows in parts of some 65,000 bases."""
    return np.array_split(codes, max(codes.size >> 16, 1))


def _window(costs: Tensor, starts: int, length: int) -> Tensor:
    """Costs (3, n, starts, length) of the dinucleotides of windows by start."""
    return torch.stack([costs[..., 2 * j : 2 * j + starts] for j in range(length)], -1)


def _grown(costs: Tensor, score: Tensor, shortest: int) -> tuple[Tensor, Tensor]:
    """Score and length, (m,), of the best windows with costs (3, m, longest)."""
    length = torch.full(score.shape, shortest, device=score.device)
    for longer in range(shortest + 1, costs.shape[-1] + 1):
        other = _score(_assigned(costs[..., :longer]))
        better = other > score + _BETTER / _RANDOM_SD
        score, length = torch.where(better, other, score), length.masked_fill(better, longer)
    return score, length


def _score(energies: Tensor) -> Tensor:
    """Standard deviations below random, (...), of windows with energies (..., k)."""
    return (_RANDOM_MEAN - _half_changed(energies)) / _RANDOM_SD


def _assigned(costs: Tensor) -> Tensor:
    """Energies (..., k) of dinucleotides with costs (3, ..., k), in the assignment of lowest sum.

    The second dinucleotide has the form of the first. Of equally good assignments it is the first
    in the order anti-syn, syn-anti from the first dinucleotide on.
    """
    turned, k = costs[2], costs.shape[-1]
    ways = [own[..., k - 1 :] for own in costs[:2]]  # from a dinucleotide on, by its form
    for at in range(k - 2, -1, -1):
        if at:
            other = [torch.cat([turned[..., at + 1, None], way[..., 1:]], -1) for way in ways]
            ways = [_cheaper(ways[0], other[1]), _cheaper(other[0], ways[1])]
        ways = [
            torch.cat([own[..., at, None], way], -1)
            for own, way in zip(costs[:2], ways, strict=True)
        ]
    return _cheaper(*ways)


def _cheaper(one: Tensor, other: Tensor) -> Tensor:
    """Of two energies (..., k) those of the lower sum; the first where they are equally good."""
    better = one.sum(-1, keepdim=True) <= other.sum(-1, keepdim=True) + _TIE
    return torch.where(better, one, other)


def _half_changed(energies: Tensor) -> Tensor:
    """The linking difference (...) at which half of a window (..., k) has changed, on average.

    With runs of r dinucleotides untwisted by t_r = 2 * 0.4 + 0.357 r turns, and c_r the sum of
    exp(-E / RT) over runs of that length, it is the d at which sum_r t_r q_r / (1 + sum_r q_r) is
    half of 0.357 k, where q_r = c_r exp(K (d^2 - (d - t_r)^2) - nucleation). Found by Newton's
    method on the logarithm, which is convex; its last step carries the gradient.
    """
    k = energies.shape[-1]
    weights = torch.exp(-energies / _RT)
    products, sums = torch.ones_like(weights), []
    for r in range(k):
        products = products[..., : k - r] * weights[..., r:]
        sums.append(products.sum(-1))
    turns = _PER_DINUCLEOTIDE * torch.arange(1, k + 1, device=energies.device) + 2 * _PER_JUNCTION
    half = _PER_DINUCLEOTIDE * k / 2
    # (t_r - half) q_r sum to half; runs too short for their sign count on the other side.
    constant = (turns - half).abs().log() - _NUCLEATION - _SUPERCOILING * turns**2
    gain = torch.stack(sums, -1).log() + constant
    enough = (turns > half).to(gain.dtype)

    def gap(d: Tensor) -> tuple[Tensor, Tensor]:
        q = torch.exp(gain + 2 * _SUPERCOILING * turns * d.unsqueeze(-1))
        more, less = (q * enough).sum(-1), half + (q * (1 - enough)).sum(-1)
        slope = (q * turns * enough).sum(-1) / more - (q * turns * (1 - enough)).sum(-1) / less
        return (more / less).log(), 2 * _SUPERCOILING * slope

    d = torch.full_like(gain[..., 0], _RANDOM_MEAN)
    with torch.no_grad():
        for _ in range(_STEPS):
            value, slope = gap(d)
            d = d - value / slope
    value, slope = gap(d)
    return d - value / slope.detach()
