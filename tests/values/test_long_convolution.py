"""HyenaDNA's convolutions: against their definition, and their written-out gradients."""

import pytest
import torch

from basewise.models.hyenadna import (
    DIRECT,
    FourierConvolution,
    ShortConvolution,
    fast_length,
    long_convolution,
)


def by_definition(v: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """The sum over all earlier positions, of (w, n, t) and (w, k)."""
    mixed = torch.zeros_like(v)
    for at in range(v.shape[-1]):
        for back in range(min(at + 1, filters.shape[-1])):
            mixed[:, :, at] += filters[:, back, None] * v[:, :, at - back]
    return mixed


# One row is convolved by Fourier transforms, 40 rows of 11 by matrices; DIRECT bounds the latter.
@pytest.mark.parametrize(("n", "t"), [(1, 11), (40, 11), (40, 1), (80, DIRECT), (80, DIRECT + 1)])
def test_the_long_one_is_the_sum_over_all_earlier_positions(n, t):
    torch.manual_seed(0)
    v, filters = torch.randn(5, n, t), torch.randn(5, t)
    found = long_convolution(v, filters)
    torch.testing.assert_close(found, by_definition(v, filters), rtol=1e-4, atol=1e-4)


def test_both_ways_have_the_same_gradient():
    torch.manual_seed(0)
    v, filters, weights = torch.randn(3, 40, 11), torch.randn(3, 11), torch.randn(3, 40, 11)

    def gradients(convolve):
        inputs = v.clone().requires_grad_(), filters.clone().requires_grad_()
        return torch.autograd.grad((convolve(*inputs) * weights).sum(), inputs)

    def fourier(v, filters):
        return FourierConvolution.apply(v, filters[:, None])

    torch.testing.assert_close(
        gradients(long_convolution), gradients(fourier), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("t", [1, 2, 7])
def test_the_gradient_of_the_long_one(t):
    v = torch.randn(2, 3, t, dtype=torch.double, requires_grad=True)
    filters = torch.randn(2, 1, t, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(FourierConvolution.apply, (v, filters))
    assert torch.autograd.gradgradcheck(FourierConvolution.apply, (v, filters))


def test_a_half_precision_input_stays_so_and_near():
    torch.manual_seed(0)
    filters = torch.randn(5, 11)
    for n in (1, 40):
        v = torch.randn(5, n, 11).bfloat16()
        exact = by_definition(v.float(), filters)
        # Filters of a network that is half precision throughout are so, too.
        for given, bound in ((filters, 0.005), (filters.bfloat16(), 0.01)):
            found = long_convolution(v, given)
            assert found.dtype == torch.bfloat16
            assert (found.float() - exact).norm() < bound * exact.norm()


@pytest.mark.parametrize("t", [1, 2, 7])
@pytest.mark.parametrize("taps", [1, 3, 4])
def test_the_short_one_and_its_gradient(t, taps):
    torch.manual_seed(0)
    u = torch.randn(2, 3, t, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, taps, dtype=torch.double, requires_grad=True)
    bias = torch.randn(2, dtype=torch.double, requires_grad=True)
    expected = by_definition(u.detach(), weight.detach().flip(-1)) + bias.detach()[:, None, None]
    torch.testing.assert_close(ShortConvolution.apply(u, weight, bias).detach(), expected)
    assert torch.autograd.gradcheck(ShortConvolution.apply, (u, weight, bias))
    assert torch.autograd.gradgradcheck(ShortConvolution.apply, (u, weight, bias))


def test_lengths_without_large_prime_factors():
    assert [fast_length(n) for n in (1, 7, 13, 141, 142, 2051)] == [1, 8, 15, 144, 144, 2160]
