"""HyenaDNA's long convolution: against its definition, and its written-out gradient."""

import pytest
import torch

from basewise.models.hyenadna import CausalConvolution, fast_length


def test_it_is_the_sum_over_all_earlier_positions():
    v, filters = torch.randn(3, 5, 11, dtype=torch.double), torch.randn(5, 11, dtype=torch.double)
    expected = torch.zeros_like(v)
    for at in range(11):
        for back in range(at + 1):
            expected[:, :, at] += filters[:, back] * v[:, :, at - back]
    torch.testing.assert_close(CausalConvolution.apply(v, filters), expected)


@pytest.mark.parametrize("t", [1, 2, 7])
def test_its_gradient(t):
    v = torch.randn(3, 2, t, dtype=torch.double, requires_grad=True)
    filters = torch.randn(2, t, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(CausalConvolution.apply, (v, filters))
    assert torch.autograd.gradgradcheck(CausalConvolution.apply, (v, filters))


def test_lengths_without_large_prime_factors():
    assert [fast_length(n) for n in (1, 7, 13, 141, 142, 2051)] == [1, 8, 15, 144, 144, 2160]
