"""Every golden checkpoint gives what its original implementation gave, and keeps doing so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from basewise.models.checkpoints import load_network
from tiny_networks import GOLDEN_FOLDERS

EXACT = 1e-5  # of the largest number in the comparison, float32; asked for are 1e-4
BF16 = 0.03  # relative error (L2) that casting a network to bfloat16 may cost

pytestmark = pytest.mark.skipif(not GOLDEN_FOLDERS, reason="the golden checkpoints are absent")


class Golden:
    """One folder: its network, what goes in and what must come out."""

    def __init__(self, folder: Path) -> None:
        self.network: PreTrainedModel = load_network(folder)
        with np.load(folder / "expected.npz") as found:
            self.expected = {key: torch.from_numpy(found[key]) for key in found}
        self.ids = self.expected.pop("input_ids")
        self.mask = self.expected.pop("attention_mask", torch.ones_like(self.ids))
        self.logits = self.expected.pop("logits")

    def real(self, x: Tensor) -> Tensor:
        """The rows of real tokens; sequence-level logits and rows without pads as they are."""
        return x[self.mask.bool()] if x.shape[:2] == self.mask.shape else x

    def run(self, **asked: Any) -> Any:
        with torch.no_grad():
            return self.network(input_ids=self.ids, attention_mask=self.mask, **asked)


@pytest.fixture(params=GOLDEN_FOLDERS, ids=lambda path: path.parent.name)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param.parent)


def same(found: Tensor, expected: Tensor, within: float = EXACT) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= within * expected.abs().max()


def test_logits_and_every_hidden_state(golden: Golden) -> None:
    output = golden.run(output_hidden_states=True)
    same(golden.real(output.logits), golden.real(golden.logits))
    assert output.hidden_states
    if golden.expected:
        assert len(output.hidden_states) == len(golden.expected)
    for key, expected in golden.expected.items():
        found = output.hidden_states[int(key.removeprefix("hidden_"))]
        same(golden.real(found), golden.real(expected))


def test_embeddings_in_place_of_ids(golden: Golden) -> None:
    with torch.no_grad():
        embedded = golden.network.get_input_embeddings()(golden.ids)
        output = golden.network(inputs_embeds=embedded, attention_mask=golden.mask)
    same(golden.real(output.logits), golden.real(golden.logits))


def test_a_batch_of_n_equals_n_batches_of_one(golden: Golden) -> None:
    together = golden.run().logits
    per_token = together.ndim == 3
    for row, length in enumerate(golden.mask.sum(1)):
        with torch.no_grad():
            alone = golden.network(input_ids=golden.ids[row : row + 1, :length]).logits[0]
        same(together[row, :length] if per_token else together[row], alone)


def test_rows_cut_to_other_lengths(golden: Golden) -> None:
    """As above, with lengths of our own: the golden HyenaDNA rows have one length."""
    row, longest = int(golden.mask.sum(1).argmax()), int(golden.mask.sum(1).max())
    lengths = torch.tensor([longest // 2 + 1, longest, 3])
    mask = torch.arange(longest) < lengths[:, None]
    pad = getattr(golden.network.config, "pad_token_id", None) or 3
    ids = golden.ids[row, :longest].expand(3, -1).masked_fill(~mask, pad)
    with torch.no_grad():
        together = golden.network(input_ids=ids, attention_mask=mask.long()).logits
        for i, length in enumerate(lengths):
            alone = golden.network(input_ids=ids[i : i + 1, :length]).logits[0]
            same(together[i, :length] if together.ndim == 3 else together[i], alone)


def test_attention_maps_agree_with_the_fast_path(golden: Golden) -> None:
    if "hyenadna" in golden.network.config.model_type:
        pytest.skip("HyenaDNA has no attention")
    output = golden.run(output_attentions=True)
    config = golden.network.config
    n, t = golden.ids.shape
    shape = (n, config.num_attention_heads, t, t)
    assert [a.shape for a in output.attentions] == [shape] * config.num_hidden_layers
    same(golden.real(output.logits), golden.real(golden.logits))
    assert config._attn_implementation == "sdpa"


def test_bfloat16_stays_within_its_bound(golden: Golden) -> None:
    exact = golden.real(golden.logits)
    golden.network.to(torch.bfloat16)
    rough = golden.run().logits
    assert rough.dtype == torch.bfloat16
    assert (golden.real(rough).float() - exact).norm() < BF16 * exact.norm()


def test_padding_has_no_gradient(golden: Golden) -> None:
    seen: list[Tensor] = []
    golden.network.get_input_embeddings().register_forward_hook(lambda *call: seen.append(call[2]))
    logits = golden.network(input_ids=golden.ids, attention_mask=golden.mask).logits
    (gradient,) = torch.autograd.grad(golden.real(logits).square().sum(), seen[0])
    assert (gradient[golden.mask == 0] == 0).all()
    assert gradient[golden.mask == 1].abs().max() > 0


def test_saved_and_loaded_again(golden: Golden, tmp_path: Path) -> None:
    golden.network.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert "auto_map" not in saved
    again = load_network(tmp_path)
    assert type(again) is type(golden.network)
    before, golden.network = golden.run(), again
    same(golden.run().logits, before.logits, within=0)
    assert again.config.id2label == {
        i: f"LABEL_{i}" for i in range(3 if before.logits.shape[-1] == 3 else 2)
    }


def test_a_new_head_leaves_the_trunk_as_it_is(golden: Golden, request: Any) -> None:
    folder = request.node.callspec.params["golden"].parent
    torch.manual_seed(3)
    network = load_network(folder, head="regression", labels=["expression"])
    assert network.config.problem_type == "regression"
    assert network.config.id2label == {0: "expression"}
    trunk = f"{network.base_model_prefix}."
    theirs = golden.network.state_dict()
    for key, weight in network.state_dict().items():
        if key.startswith(trunk) and "pooler" not in key:
            assert torch.equal(weight, theirs[key])
        else:
            # Freshly drawn, not whatever was in memory.
            assert weight.abs().max() < 0.2
            assert weight.any() or key.endswith("bias")
    with torch.no_grad():
        logits = network(input_ids=golden.ids, attention_mask=golden.mask).logits
    assert logits.shape == (3, 1)
