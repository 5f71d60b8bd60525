"""What is changed of transformers' ESM for speed leaves its function and its weights' names."""

import copy

import torch
from transformers import EsmConfig, EsmForMaskedLM

from basewise.models.nucleotide_transformer import OnePassIntermediate, one_pass_gelu


def test_the_same_function_under_the_same_names():
    torch.manual_seed(0)
    theirs = EsmForMaskedLM(
        EsmConfig(
            vocab_size=11,
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=20,
            max_position_embeddings=19,
            pad_token_id=1,
            mask_token_id=2,
        )
    ).eval()
    ours = copy.deepcopy(theirs)
    one_pass_gelu(ours)
    assert all(type(x.intermediate) is OnePassIntermediate for x in ours.esm.encoder.layer)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ids = torch.randint(3, 11, (5, 7))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits)
