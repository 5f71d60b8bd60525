"""Loading by name is strict: what does not fit is refused in one line that lists it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertForMaskedLM

from basewise.errors import ConfigError, WeightsError
from basewise.models.checkpoints import load_network, max_tokens
from tiny_networks import (
    BERT_SIZES,
    GOLDEN,
    GOLDEN_FOLDERS,
    SIZES,
    library_networks,
    pad_id,
    ragged_rows,
    tiny,
)

needs_golden = pytest.mark.skipif(not GOLDEN_FOLDERS, reason="the golden checkpoints are absent")


def saved(network: Any, folder: Path) -> Path:
    network.save_pretrained(folder)
    return folder


def rewritten(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    return folder


def reconfigured(folder: Path, **settings: Any) -> Path:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


def copied(name: str, folder: Path) -> Path:
    shutil.copytree(GOLDEN / name, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def refusal(folder: Path, **how: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        load_network(folder, **how)
    said = str(caught.value)
    assert "\n" not in said
    assert str(folder) in said
    return said


def networks() -> dict[str, Callable[[], nn.Module]]:
    made: dict[str, Callable[[], nn.Module]] = {
        name: lambda name=name: tiny(name, head="sequence_classification", num_labels=3)
        for name in SIZES
    }
    return made | {kind: lambda kind=kind: library_networks()[kind] for kind in ("bert", "esm")}


@pytest.fixture(params=networks())
def network(request: pytest.FixtureRequest) -> Any:
    return networks()[request.param]()


def test_saved_and_loaded_again(network: Any, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    again = load_network(saved(network, tmp_path))
    assert torch.equal(torch.get_rng_state(), state)  # loading draws nothing
    assert not again.training
    assert type(again) is type(network)
    ours = network.state_dict()
    assert list(again.state_dict()) == list(ours)
    assert all(torch.equal(v, ours[k]) for k, v in again.state_dict().items())
    ids, mask = ragged_rows(pad_id(network))
    with torch.no_grad():
        found = again(input_ids=ids, attention_mask=mask).logits
        expected = network(input_ids=ids, attention_mask=mask).logits
        if network.config.model_type == "esm":  # loading replaces its GELU by one of one pass
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(found, expected)


def test_loading_leaves_the_file_alone(tmp_path: Path) -> None:
    """Weights are copied, not mapped: the file may be overwritten while the network is used."""
    network = tiny("basewise-gena")
    again = load_network(saved(network, tmp_path))
    before = (tmp_path / "model.safetensors").read_bytes()
    with torch.no_grad():
        again.bert.embeddings.LayerNorm.weight.add_(1)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    again.save_pretrained(tmp_path)


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    network = tiny("basewise-gena").to(torch.bfloat16)
    again = load_network(saved(network, tmp_path))
    assert {v.dtype for v in again.parameters()} == {torch.float32}


def test_a_bin_file_holds_as_well(network: Any, tmp_path: Path) -> None:
    saved(network, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    again = load_network(tmp_path).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in network.state_dict().items())


def test_shards_hold_as_well(network: Any, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    again = load_network(tmp_path).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in network.state_dict().items())
    shards[0].unlink()
    with pytest.raises(WeightsError, match=f"{shards[0].name} does not exist, but .* lists it"):
        load_network(tmp_path)


def test_a_pickle_of_anything_else_is_not_executed(tmp_path: Path) -> None:
    saved(tiny("basewise-gena"), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    path = tmp_path / "pytorch_model.bin"
    torch.save({"x": Path("somewhere")}, path)
    said = refusal(tmp_path)
    assert said.startswith(f"{path} (")
    assert "is truncated, broken or not a file of weights" in said
    torch.save([1, 2], path)
    assert refusal(tmp_path) == (
        f"{path} holds something else than weights by name; copy or download the file again."
    )


def test_weights_that_do_not_fit_are_listed(network: Any, tmp_path: Path) -> None:
    saved(network, tmp_path)
    names = sorted(load_file(tmp_path / "model.safetensors"))
    per_layer = [k for k in names if ".1." in k and "filter_fn" not in k and k.endswith("weight")]
    removed, renamed, reshaped = per_layer[:3]

    def spoil(state: dict[str, Tensor]) -> None:
        del state[removed]
        state[renamed + ".old"] = state.pop(renamed)
        state[reshaped] = torch.cat([state[reshaped], state[reshaped]])

    shape = list(load_file(tmp_path / "model.safetensors")[reshaped].shape)
    rewritten(tmp_path, spoil)
    said = refusal(tmp_path)
    assert said == (
        f"{tmp_path / 'model.safetensors'} does not fit {type(network).__name__} as config.json "
        f"describes it: 2 missing ({', '.join(sorted([removed, renamed]))}); "
        f"1 unexpected ({renamed}.old); 1 of another shape ({reshaped} "
        f"{[2 * shape[0], *shape[1:]]} instead of {shape}); "
        "take config.json and weights of one checkpoint."
    )


def test_names_of_many_layers_are_folded(tmp_path: Path) -> None:
    saved(tiny("basewise-gena"), tmp_path)
    rewritten(
        tmp_path, lambda state: [state.pop(k) for k in list(state) if "pre_attention_ln" in k]
    )
    said = refusal(tmp_path)
    assert (
        "6 missing (bert.encoder.layer.{0..2}.pre_attention_ln.bias, "
        "bert.encoder.layer.{0..2}.pre_attention_ln.weight)" in said
    )


def test_a_truncated_file(network: Any, tmp_path: Path) -> None:
    path = saved(network, tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    for size in (0, 3, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        said = refusal(tmp_path)
        assert said.startswith(f"{path} ({size:,} bytes) is truncated, broken or not a file")
        assert said.endswith("; copy or download the file again.")
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    path.unlink()
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-200])
    assert refusal(tmp_path).startswith(f"{path} (")


def test_folders_that_are_no_checkpoint(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert refusal(absent) == f"{absent} is not a folder; give one that holds config.json."
    path = tmp_path / "config.json"
    assert refusal(tmp_path).startswith(f"{path} does not exist; a checkpoint's folder holds")
    path.write_text("{'model_type': 1}")
    assert refusal(tmp_path).startswith(f"{path} is not JSON (")
    path.write_text("[]")
    assert refusal(tmp_path).startswith(f"{path} holds list, not settings")
    path.write_text('{"model_type": "basewise-gena"}')
    assert refusal(tmp_path) == (
        f"{tmp_path} holds none of model.safetensors, pytorch_model.bin (or the index of their "
        "shards); download the weights into it."
    )
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": 3}')
    assert refusal(tmp_path).startswith(f"{index} is not an index of shards (")


def test_architectures_that_nobody_knows(tmp_path: Path) -> None:
    saved(library_networks()["bert"], tmp_path)
    reconfigured(tmp_path, model_type="caduceus", auto_map={"AutoModel": "caduceus.Caduceus"})
    assert refusal(tmp_path) == (
        f"{tmp_path / 'config.json'}: model_type = 'caduceus' is known neither to basewise nor to "
        "this transformers, and code that comes with a checkpoint is never run."
    )
    reconfigured(tmp_path, model_type="bert", auto_map=None, architectures=["BertModel"])
    assert "architectures = ['BertModel'], which names no head" in refusal(tmp_path)
    assert load_network(tmp_path, head="token_classification", labels=["a", "b"])
    reconfigured(tmp_path, model_type="vit", architectures=["ViTForSequenceClassification"])
    assert "transformers has no sequence_classification network of model_type 'vit'" in refusal(
        tmp_path
    )


def test_bert_without_model_type_is_dnabert(tmp_path: Path) -> None:
    """The configuration published with DNABERT."""
    network = library_networks()["bert"]
    saved(network, tmp_path)
    reconfigured(tmp_path, model_type=None)
    again = load_network(tmp_path)
    assert type(again) is type(network)
    assert max_tokens(again) == 32
    reconfigured(tmp_path, position_embedding_type="relative_key")
    assert "transformers' BERT has absolute positions only" in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["Roberta", "ModernBert", "Electra"])
def test_any_network_of_transformers(kind: str, tmp_path: Path) -> None:
    sizes = {**BERT_SIZES, "num_labels": 3, "pad_token_id": 1, "bos_token_id": 2}
    sizes |= {"eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3, "embedding_size": 24}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    for head in ("SequenceClassification", "TokenClassification", "MaskedLM"):
        torch.manual_seed(0)
        network = getattr(transformers, f"{kind}For{head}")(config).eval()
        again = load_network(saved(network, tmp_path / head))
        ids, mask = ragged_rows(1)
        with torch.no_grad():
            expected = network(input_ids=ids, attention_mask=mask).logits
            found = again(input_ids=ids, attention_mask=mask, output_attentions=True)
        torch.testing.assert_close(
            found.logits[mask.bool()] if found.logits.ndim == 3 else found.logits,
            expected[mask.bool()] if expected.ndim == 3 else expected,
        )
        assert [a.shape for a in found.attentions] == [(3, 6, 19, 19)] * 3
        assert load_network(tmp_path / head, head="regression").config.num_labels == 1


def test_pretraining_weights_beside_a_language_model_are_left(tmp_path: Path) -> None:
    """DNABERT and the first GENA-LM were saved with pooler and next-sentence head."""
    config = library_networks()["bert"].config
    torch.manual_seed(2)
    saved(BertForMaskedLM(config), tmp_path)
    extra = {
        "bert.pooler.dense.weight": torch.zeros(24, 24),
        "bert.embeddings.position_ids": torch.arange(32)[None],
        "cls.seq_relationship.weight": torch.zeros(2, 24),
    }
    rewritten(tmp_path, lambda state: state.update(extra))
    assert type(load_network(tmp_path)) is BertForMaskedLM
    saved(tiny("basewise-gena"), tmp_path)
    rewritten(tmp_path, lambda state: state.update(extra))
    load_network(tmp_path)
    rewritten(tmp_path, lambda state: state.update({"bert.other": torch.zeros(1)}))
    assert "1 unexpected (bert.other)" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["basewise-dnabert2", "basewise-gena"])
def test_a_decoder_stored_beside_its_embedding(name: str, tmp_path: Path) -> None:
    decoder, table = "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"
    network = tiny(name, vocab_size=41)
    saved(network, tmp_path)
    copy = {decoder: network.get_input_embeddings().weight.detach().clone()}

    rewritten(tmp_path, lambda state: state.update(copy))
    assert decoder not in load_network(tmp_path).state_dict()
    # safetensors keeps one of two shared tensors, not always the embedding.
    rewritten(tmp_path, lambda state: state.pop(table))
    again = load_network(tmp_path)
    assert torch.equal(again.get_input_embeddings().weight, copy[decoder])
    # A decoder of its own is one.
    rewritten(tmp_path, lambda state: state.update({table: copy[decoder] + 1}))
    again = load_network(tmp_path)
    assert not again.config.tie_word_embeddings
    assert torch.equal(again.state_dict()[decoder], copy[decoder])


def test_the_shared_frequencies_of_hyenadna(tmp_path: Path) -> None:
    network = tiny("basewise-hyenadna", head="causal_lm")
    saved(network, tmp_path)
    first = "hyena.backbone.layers.2.mixer.filter_fn.implicit_filter.1.freq"
    stored = network.state_dict()[first]

    def add(value: Tensor) -> Callable[[dict[str, Tensor]], None]:
        return lambda state: state.update({first.replace(".1.freq", ".3.freq"): value.clone()})

    rewritten(tmp_path, add(stored))
    load_network(tmp_path)
    rewritten(tmp_path, add(stored + 1))
    assert "1 unexpected (hyena.backbone.layers.2.mixer.filter_fn." in refusal(tmp_path)


@pytest.mark.parametrize("name", ["basewise-gena rotary", "basewise-nucleotide-transformer"])
def test_stored_rotary_frequencies_must_be_ours(name: str, tmp_path: Path) -> None:
    network = tiny(name)
    saved(network, tmp_path)
    features = 2 if "gena" in name else 4
    right = 10000 ** (-torch.arange(0, features, 2) / features)
    key = f"{network.base_model_prefix}.encoder.layer.1.attention.self.rotary.inv_freq"
    rewritten(tmp_path, lambda state: state.update({key: right.half()}))
    load_network(tmp_path)
    rewritten(tmp_path, lambda state: state.update({key: right * 1.5}))
    assert f"1 unexpected ({key})" in refusal(tmp_path)


# ---------------------------------------------------------------- new heads


def test_a_new_head_on_every_network(network: Any, tmp_path: Path) -> None:
    saved(network, tmp_path)
    trunk = f"{network.base_model_prefix}."
    ids, mask = ragged_rows(pad_id(network))
    for head, shape in (
        ("sequence_classification", (3, 4)),
        ("token_classification", (3, 19, 4)),
        ("regression", (3, 4)),
    ):
        torch.manual_seed(1)
        again = load_network(tmp_path, head=head, labels=["a", "b", "c", "d"])
        assert again.config.id2label == dict(enumerate("abcd"))
        assert again.config.problem_type == ("regression" if head == "regression" else None)
        ours = again.state_dict()
        for key, weight in network.state_dict().items():
            if key.startswith(trunk) and "pooler" not in key:
                assert torch.equal(weight, ours[key])
        logits = again(input_ids=ids, attention_mask=mask).logits
        assert logits.shape == shape
        assert logits.isfinite().all()
        torch.manual_seed(1)
        twice = load_network(tmp_path, head=head, labels=["a", "b", "c", "d"]).state_dict()
        assert all(torch.equal(weight, twice[key]) for key, weight in ours.items())


def test_a_new_head_keeps_the_trunk_strict(network: Any, tmp_path: Path) -> None:
    saved(network, tmp_path)
    names = sorted(load_file(tmp_path / "model.safetensors"))
    projections = ("Wqkv.weight", "query.weight", "in_proj.weight")
    gone = next(k for k in names if ".2." in k and k.endswith(projections))
    rewritten(tmp_path, lambda state: state.pop(gone))
    assert f"1 missing ({gone})" in refusal(tmp_path, head="regression")
    rewritten(tmp_path, lambda state: state.update({f"{gone}.old": torch.zeros(2)}))
    assert f"1 unexpected ({gone}.old)" in refusal(tmp_path, head="regression")


def test_a_pooler_is_kept_when_asked_for(tmp_path: Path) -> None:
    network = tiny("basewise-gena", head="sequence_classification", pooling="pooler")
    saved(network, tmp_path)
    dense = network.bert.pooler.dense.weight
    again = load_network(tmp_path, head="sequence_classification", labels="ab", pooling="pooler")
    assert torch.equal(again.bert.pooler.dense.weight, dense)
    assert again.classifier.weight.shape == (2, 24)
    again = load_network(tmp_path, head="sequence_classification", labels="ab")
    assert again.config.pooling == "mean"
    assert not hasattr(again.bert, "pooler")
    # A checkpoint without one gets a fresh one.
    saved(tiny("basewise-gena"), tmp_path)
    again = load_network(tmp_path, head="sequence_classification", pooling="pooler")
    assert float(again.bert.pooler.dense.weight.detach().std()) == pytest.approx(0.2, rel=0.2)
    assert not again.bert.pooler.dense.bias.any()


def test_heads_that_do_not_exist(network: Any, tmp_path: Path) -> None:
    saved(network, tmp_path)
    with pytest.raises(ConfigError, match=r"head = 'ranking': one of masked_lm, causal_lm"):
        load_network(tmp_path, head="ranking")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"of a new head; name it with head="):
        load_network(tmp_path, labels=["a", "b"])


# ---------------------------------------------------------------- published layouts


@needs_golden
def test_a_gena_checkpoint_does_not_pass_for_bert(tmp_path: Path) -> None:
    """transformers' BERT takes it without complaint and computes something else."""
    folder = copied("gena_preln_mlm", tmp_path)
    reconfigured(folder, pre_layer_norm=None, last_layer_norm=None, auto_map=None)
    said = refusal(folder)
    assert "does not fit BertForMaskedLM" in said
    assert "unexpected (bert.encoder.layer.{0..2}.post_attention_ln.bias" in said


@needs_golden
@pytest.mark.parametrize(
    "name, settings, said",
    [
        ("gena_rotary_mlm", {"sparse_config_cls": "x"}, "has block-sparse attention"),
        ("gena_preln_mlm", {"position_embedding_type": "relative_key"}, "'absolute' and 'rotary'"),
        (
            "nucleotide_transformer_v2_mlm",
            {"token_dropout": True},
            "token_dropout = true",
        ),
        ("hyenadna_lm", {"hyena_order": 3}, "hyena_order = 3: HyenaDNA's published models have 2"),
        ("hyenadna_lm", {"layer": {"_name_": "hyena"}}, "take the same model's '-hf' repository"),
    ],
)
def test_variants_that_compute_something_else(
    name: str, settings: Mapping[str, Any], said: str, tmp_path: Path
) -> None:
    folder = reconfigured(copied(name, tmp_path), **settings)
    assert said in refusal(folder)


@needs_golden
@pytest.mark.parametrize("given", ["dnabert2_mlm", "gena_preln_mlm", "hyenadna_lm"])
def test_weights_of_another_architecture(given: str, tmp_path: Path) -> None:
    folder = copied("nucleotide_transformer_v2_mlm", tmp_path)
    shutil.copyfile(GOLDEN / given / "model.safetensors", folder / "model.safetensors")
    said = refusal(folder)
    assert "does not fit NucleotideTransformer" in said
    assert "missing (" in said
    assert "unexpected (" in said


@needs_golden
def test_version_one_positions_are_limited() -> None:
    folder = GOLDEN / "nucleotide_transformer_v1_mlm"
    assert max_tokens(load_network(folder)) == 30
    assert max_tokens(load_network(GOLDEN / "dnabert2_mlm")) is None
    assert max_tokens(load_network(GOLDEN / "hyenadna_lm")) == 130
