"""`Model.load`: from folders and from the hub, with the tokenizer and the licence that belong."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError, StoreError, WeightsError
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.nucleotide import Nucleotide
from basewise.tokenize.nucleotide_transformer import NucleotideTransformer
from tiny_bpe import write_tiny_bpe
from tiny_networks import GOLDEN, GOLDEN_FOLDERS, SIZES, tiny

SEQUENCES = ["ACGTTGCAACGTAC", "TTGACGGAAACCTA", "CATG"]
RECORDS = [bw.Record(f"r{i}", sequence) for i, sequence in enumerate(SEQUENCES)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLASSIFIER = {"head": "sequence_classification", "num_labels": 3}


def kmer_folder(folder: Path, cls: Any = BertForSequenceClassification, k: int = 2) -> Path:
    """A small BERT laid out as DNABERT is published, do_lower_case included."""
    tokenizer = Kmer(k=k)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=15,
        num_labels=2,
        initializer_range=0.5,
    )
    cls(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tokenizer.vocabulary()) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "max_len": 512}')
    return folder


def said_by(error: type[Exception], *args: Any, **settings: Any) -> str:
    with pytest.raises(error) as caught:
        bw.Model.load(*args, **settings)
    said = str(caught.value)
    assert "\n" not in said
    return said


# ------------------------------------------------------------------------------ tokenizers


def test_a_vocabulary_of_kmers_in_upper_case(tmp_path: Path) -> None:
    model = bw.Model.load(kmer_folder(tmp_path))
    assert model.tokenizer == Kmer(k=2)
    assert model.labels == ("LABEL_0", "LABEL_1")
    # The published settings ask for lower case, which would make every k-mer unknown.
    assert model.tokenizer.unknown_id not in model.tokenizer.encode("ACGT").ids


def test_a_fast_tokenizer_of_whole_words(tmp_path: Path) -> None:
    kmer_folder(tmp_path)
    words = (tmp_path / "vocab.txt").read_text().split()
    (tmp_path / "vocab.txt").unlink()
    model = {"type": "WordPiece", "vocab": {word: i for i, word in enumerate(words)}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    assert bw.Model.load(tmp_path).tokenizer == Kmer(k=2)
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    assert "tokenizer.json is not a whole tokenizer.json" in said_by(StoreError, tmp_path)


def test_byte_pairs(tmp_path: Path) -> None:
    tiny("basewise-dnabert2", **CLASSIFIER).save_pretrained(tmp_path)
    write_tiny_bpe(tmp_path / "tokenizer.json", "plain")
    model = bw.Model.load(tmp_path, labels=["a", "b", "c"])
    assert model.tokenizer.encode("TGCA").ids.tolist() == [
        1,
        model.tokenizer.vocabulary().index("TGCA"),
        2,
    ]
    assert model.predict(RECORDS).shape == (3, 3)


def test_hyenadna_needs_no_file(tmp_path: Path) -> None:
    tiny("basewise-hyenadna", **CLASSIFIER).save_pretrained(tmp_path)
    assert bw.Model.load(tmp_path).tokenizer == Nucleotide(layout="hyenadna")


@pytest.mark.parametrize("version", [1, 2])
def test_the_nucleotide_transformer_by_its_vocabulary(tmp_path: Path, version: Any) -> None:
    tokenizer = NucleotideTransformer(version=version)
    tiny(
        "basewise-nucleotide-transformer", vocab_size=tokenizer.vocabulary_size, **CLASSIFIER
    ).save_pretrained(tmp_path)
    if version == 2:
        assert bw.Model.load(tmp_path).tokenizer == tokenizer
    extra = ["<eos>", "<bos>"] if version == 1 else []
    (tmp_path / "vocab.txt").write_text("\n".join([*tokenizer.vocabulary(), *extra]))
    assert bw.Model.load(tmp_path).tokenizer == tokenizer


def test_a_foreign_vocabulary_is_refused(tmp_path: Path) -> None:
    kmer_folder(tmp_path)
    words = (tmp_path / "vocab.txt").read_text().split()
    words[6], words[7] = words[7], words[6]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    assert said_by(StoreError, tmp_path) == (
        f"{tmp_path / 'vocab.txt'} lists 21 tokens ([PAD], [UNK], [CLS], [SEP], [MASK], AA, AC, "
        "...), which are neither DNABERT's k-mers nor those of the Nucleotide Transformer; load "
        "it in Python by Model.load(folder, tokenizer=...)."
    )
    assert bw.Model.load(tmp_path, tokenizer=Kmer(k=2)).predict(RECORDS).shape == (3, 2)


def test_without_a_tokenizer_the_network_is_there(tmp_path: Path) -> None:
    tiny("basewise-gena", **CLASSIFIER).save_pretrained(tmp_path)
    model = bw.Model.load(tmp_path)
    assert model.network(input_ids=torch.tensor([[1, 9, 2]])).logits.shape == (1, 3)
    said = (
        f"{tmp_path} holds no tokenizer for the 37 rows of its embedding: put the checkpoint's "
        "tokenizer.json (byte pairs) or vocab.txt (k-mers) there, or load it in Python by "
        "Model.load(folder, tokenizer=...)."
    )
    for use in (
        lambda: model.predict(RECORDS),
        lambda: bw.explain(model, RECORDS, "occlusion", "LABEL_1"),
        lambda: bw.explain(model, RECORDS, "integrated_gradients", "LABEL_1"),
    ):
        with pytest.raises(CapabilityError) as caught:
            use()
        assert str(caught.value) == said
    model.save(tmp_path / "again")
    assert bw.Model.load(tmp_path / "again", tokenizer=Kmer(k=2)).predict(RECORDS).shape == (3, 3)


def test_a_tokenizer_of_more_entries_than_rows_is_refused(tmp_path: Path) -> None:
    tiny("basewise-gena", **CLASSIFIER).save_pretrained(tmp_path)
    assert said_by(WeightsError, tmp_path, tokenizer=Kmer(k=3)) == (
        f"{tmp_path}: the tokenizer has 69 entries but the network's embedding only 37 rows; "
        "give the tokenizer it was trained with."
    )


# ------------------------------------------------------------------------------ labels and heads


@pytest.mark.parametrize("name", SIZES)
def test_tokens_are_no_labels(name: str, tmp_path: Path) -> None:
    head = "causal_lm" if name == "basewise-hyenadna" else "masked_lm"
    tiny(name, head=head).save_pretrained(tmp_path)
    model = bw.Model.load(tmp_path, tokenizer=Nucleotide())
    assert (model.labels, model.outputs) == ((), "tokens")
    said = r"no labels; train a head of labels on it, .* in Python on Model\.load"
    for use in (
        lambda: model.predict(RECORDS),
        lambda: bw.explain(model, RECORDS, "occlusion", "LABEL_1"),
    ):
        with pytest.raises(CapabilityError, match=said):
            use()
    assert "this is a language model; load it with head=" in said_by(
        WeightsError, tmp_path, labels=["a", "b"]
    )
    fresh = bw.Model.load(
        tmp_path, tokenizer=Nucleotide(), head="sequence_classification", labels=["a", "b"]
    )
    assert fresh.labels == ("a", "b")
    assert fresh.predict(RECORDS).shape == (3, 2)


def test_labels_must_be_as_many_as_outputs(tmp_path: Path) -> None:
    said = said_by(WeightsError, kmer_folder(tmp_path), labels=["a", "b", "c"])
    assert said.endswith("3 labels were given (a, b, c), the network has 2 outputs.")


def test_a_regression_gives_values(tmp_path: Path) -> None:
    kmer_folder(tmp_path)
    model = bw.Model.load(tmp_path, head="regression", labels=["expression"])
    assert (model.outputs, model.labels) == ("values", ("expression",))
    model.save(tmp_path / "again")
    again = bw.Model.load(tmp_path / "again")
    assert (again.outputs, again.labels) == ("values", ("expression",))


def test_a_token_classifier_gives_the_mean_of_its_tokens(tmp_path: Path) -> None:
    model = bw.Model.load(kmer_folder(tmp_path, BertForTokenClassification))
    found = model.predict(RECORDS)  # of two lengths: a row does not depend on its neighbours
    for row, record in zip(found, RECORDS, strict=True):
        ids = torch.from_numpy(model.tokenizer.encode(record.sequence).ids)[None]
        with torch.no_grad():
            logits = model.network(input_ids=ids).logits[0, 1:-1].double().mean(0)
        np.testing.assert_allclose(row, logits.softmax(0), rtol=1e-5)
    (explained, *_) = bw.explain(model, RECORDS, "occlusion", "LABEL_1", units="bases")
    odds = np.log(found[0, 1] / found[0, 0])
    assert explained.output == pytest.approx(odds, abs=1e-5)


# ------------------------------------------------------------------------------ lengths


def test_nothing_is_cut_silently(tmp_path: Path) -> None:
    model = bw.Model.load(kmer_folder(tmp_path), name="small")
    long = [*RECORDS, bw.Record("long", "ACGT" * 7, "LABEL_0")]
    said = (
        "Record 'long' has 28 bases, which are 29 tokens with the special ones, and small takes at "
        "most 15; cut it into windows of about 14 bases."
    )
    from basewise.train.rows import rows_of

    for use in (
        lambda: model.predict(long),
        lambda: bw.explain(model, long, "occlusion", "LABEL_1", units="bases"),
        lambda: bw.explain(model, long, "integrated_gradients", "LABEL_1"),
        lambda: rows_of(model, long[3:]),
    ):
        with pytest.raises(DataError) as caught:
            use()
        assert str(caught.value) == said


# ------------------------------------------------------------------------------ licences


def test_licences_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "basewise")
    folder = kmer_folder(tmp_path / "a")
    assert bw.Model.load(folder).licence is None
    assert not caplog.records
    (folder / "README.md").write_text('---\ntags:\n- dna\nlicense: "apache-2.0"\n---\n# A model\n')
    model = bw.Model.load(folder)
    assert model.licence == "apache-2.0"
    assert "licence='apache-2.0'" in repr(model)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\n")
    bw.Model.load(folder, name="theirs").save(tmp_path / "b")
    assert bw.Model.load(tmp_path / "b").licence == "cc-by-nc-sa-4.0"  # kept by what is made of it
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "a: licence apache-2.0"),
        ("WARNING", "theirs: licence cc-by-nc-sa-4.0; not for commercial use"),
        ("WARNING", "theirs: licence cc-by-nc-sa-4.0; not for commercial use"),
    ]


# ------------------------------------------------------------------------------ saving


def test_saving_writes_nothing_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bw.Model.load(kmer_folder(tmp_path / "a")).save(tmp_path / "b")
    capfd.readouterr()
    bw.Model.load(tmp_path / "b").save(tmp_path / "c")
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------ the hub


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache, without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def cached(cache: Path, name: str = "lab/model") -> Path:
    """The snapshot of a repository in a cache, as earlier versions of the library leave it."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return kmer_folder(repository / "snapshots" / COMMIT)


def test_a_local_cache_is_enough(cache: Path) -> None:
    folder = cached(cache)
    expected = bw.Model.load(folder).predict(RECORDS)
    for settings in ({}, {"revision": COMMIT}, {"revision": "main"}):
        model = bw.Model.load("lab/model", **settings)
        assert model.name == "lab/model"
        assert (model.predict(RECORDS) == expected).all()


def test_a_local_cache_of_a_bin_file(cache: Path) -> None:
    folder = cached(cache)
    state = bw.Model.load(folder).network.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    assert bw.Model.load("lab/model").predict(RECORDS).shape == (3, 2)


def test_what_is_not_in_the_cache_says_what_to_do(cache: Path) -> None:
    cached(cache)
    for name, settings, at in (
        ("lab/other", {}, ""),
        ("lab/model", {"revision": "v2"}, " (revision v2)"),
    ):
        said = said_by(WeightsError, name, **settings)
        assert said.startswith(f"{name}{at} is not a folder, not whole in the local cache {cache}")
        assert said.endswith(
            "; put config.json, model.safetensors (or pytorch_model.bin) and the tokenizer's "
            "tokenizer.json or vocab.txt, where it has one, into a folder and load that folder."
        )


def test_a_cache_without_weights_says_so(cache: Path) -> None:
    (cached(cache) / "model.safetensors").unlink()
    said = said_by(WeightsError, "lab/model")
    assert "model.safetensors" in said
    assert str(cache) in said


def test_what_is_neither_folder_nor_repository(tmp_path: Path) -> None:
    for source in (tmp_path / "absent", str(tmp_path / "absent"), "./absent", "absent", "a/b/c"):
        said = said_by(WeightsError, source)
        assert said.startswith(
            f"{source} is not a folder, and not the 'owner/name' of a repository"
        )
    assert said_by(ConfigError, tmp_path, revision="v1") == (
        f"revision = 'v1': {tmp_path} is a folder, which has none."
    )


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as fetching one repository takes."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0].strip("/").split("/")
        self.asked.append(path[-1])
        files = {p.name: p.read_bytes() for p in self.folder.iterdir()}
        status, headers, data = 200, {}, b""
        if path[:4] == ["api", "models", "lab", "model"]:
            if path[4] == "revision" and path[5] not in ("main", "v1"):
                status, headers = 404, {"X-Error-Code": "RevisionNotFound"}
            elif path[4] == "tree":
                data = json.dumps(
                    [
                        {"type": "file", "path": k, "size": len(v), "oid": hash_of(v)}
                        for k, v in files.items()
                    ]
                ).encode()
            else:
                siblings = [{"rfilename": name} for name in files]
                data = json.dumps({"id": "lab/model", "sha": COMMIT, "siblings": siblings}).encode()
        elif path[:2] == ["lab", "model"] and path[-1] in files:
            data = files[path[-1]]
            headers = {"ETag": f'"{hash_of(data)}"', "X-Repo-Commit": COMMIT}
        else:
            status, headers = 404, {"X-Error-Code": "RepoNotFound"}
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def hash_of(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    folder = kmer_folder(tmp_path / "published")
    (folder / "modeling.py").write_text("raise SystemExit('code of a checkpoint was run')")
    (folder / "pytorch_model.bin").write_bytes(b"not needed")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    Hub.folder, Hub.asked = folder, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_fetching_from_a_hub(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    script = """
import basewise as bw
for name, revision in (("lab/model", "v1"), ("lab/model", "v9"), ("lab/none", None)):
    try:
        model = bw.Model.load(name, revision=revision)
        print(model.licence, model.predict([bw.Record("r", "ACGTTG")]).shape)
    except bw.errors.WeightsError as error:
        print(error)
"""
    # A process of its own: the library reads the address of the hub once.
    address = f"http://127.0.0.1:{hub.server_port}"
    told = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*"}
    env = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", "import basewise.errors\n" + script],
        env=env | told,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "mit (1, 2)",
        "The hub knows no such revision: lab/model at revision 'v9'; look at "
        f"{address}/lab/model (one that is private or gated needs `hf auth login`).",
        f"The hub knows no such repository: lab/none; look at {address}/lab/none "
        "(one that is private or gated needs `hf auth login`).",
    ]
    assert {"config.json", "model.safetensors", "vocab.txt"} <= set(Hub.asked)
    assert not {"modeling.py", "pytorch_model.bin"} & set(Hub.asked)


# ------------------------------------------------------------------------------ golden folders


@pytest.mark.skipif(not GOLDEN_FOLDERS, reason="the golden checkpoints are absent")
def test_golden_folders_load_as_models(tmp_path: Path) -> None:
    for path in GOLDEN_FOLDERS:
        model = bw.Model.load(path.parent)
        assert model.name == path.parent.name
        assert (model.outputs == "tokens") == path.parent.name.endswith(("lm", "mlm"))
        assert (model.licence == "CC BY-NC-SA 4.0") == model.name.startswith("nucleotide")
    assert bw.Model.load(GOLDEN / "hyenadna_classifier").predict(RECORDS).shape == (3, 3)
    shutil.copytree(GOLDEN / "dnabert2_classifier", tmp_path / "a", copy_function=shutil.copyfile)
    (tmp_path / "a").chmod(0o755)
    write_tiny_bpe(tmp_path / "a" / "tokenizer.json", "plain")
    assert bw.Model.load(tmp_path / "a").predict(RECORDS).shape == (3, 3)
