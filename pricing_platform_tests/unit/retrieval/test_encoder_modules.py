"""An encoder is used as its folder says, or is refused with what it asks for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pricing_platform import diagnosis
from pricing_platform.errors import PlatformError
from pricing_platform.retrieval import encoder as encoder_module
from pricing_platform.retrieval.chunking import chunk
from pricing_platform.retrieval.encoder import Encoder
from pricing_platform.retrieval.encoder_modules import read_usage
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.retrieval.tiny_encoders import (
    change,
    put,
    token_vectors,
    unit,
    write_dense,
    write_modules,
    write_transformer,
)

TEXTS = ["drill", "", "small oak lamp steel", "lamp " * 15, "something unknown : Oak"]
POOLED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: tokens.max(axis=0),
    "mean": lambda tokens: tokens.mean(axis=0),
    "mean_sqrt_len_tokens": lambda tokens: tokens.sum(axis=0) / np.sqrt(len(tokens)),
    "weightedmean": lambda tokens: np.average(tokens, axis=0, weights=range(1, len(tokens) + 1)),
    "lasttoken": lambda tokens: tokens[-1],
}
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether bfloat16 pays here is not what is tested."""
    monkeypatch.setattr(encoder_module, "processor", lambda: ("any", frozenset[str]()))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transformer(tmp_path_factory.mktemp("transformer"))


@pytest.fixture
def folder(transformer: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "tiny"
    shutil.copytree(transformer, copied)
    return copied


def expected(folder: Path, mode: str, texts: list[str] | None = None) -> np.ndarray:
    vectors = [POOLED[mode](token_vectors(folder, text)) for text in texts or TEXTS]
    return np.array(vectors)


def encoder(folder: Path, **told: Any) -> Encoder:
    return Encoder(folder, name="tiny", **told)


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, unit(wanted), atol=1e-5)


@pytest.mark.parametrize("mode", POOLED)
def test_pooling_is_what_the_folder_says(folder: Path, mode: str) -> None:
    flags = {flag: name == mode for name, flag in FLAGS.items()}
    write_modules(folder, "Normalize", pooling=flags)
    by_flag = encoder(folder)
    near(by_flag.encode(TEXTS), expected(folder, mode))
    near(by_flag.encode_queries(TEXTS), expected(folder, mode))
    write_modules(folder, "Normalize", pooling={"pooling_mode": mode})
    assert encoder(folder).identity == by_flag.identity
    near(encoder(folder).encode(TEXTS), expected(folder, mode))
    other = expected(folder, "cls" if mode != "cls" else "mean")
    assert (by_flag.encode(TEXTS) * unit(other)).sum(axis=1).min() < 0.99


def test_several_poolings_stand_one_after_the_other(folder: Path) -> None:
    write_modules(folder, pooling={FLAGS["max"]: True, FLAGS["cls"]: True})
    found = encoder(folder)
    assert found.dimensions == 64
    both = np.hstack([expected(folder, "cls"), expected(folder, "max")])
    near(found.encode(TEXTS), both)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("torch.nn.modules.activation.Tanh", np.tanh),
        ("torch.nn.modules.linear.Identity", lambda numbers: numbers),
        ("torch.nn.modules.activation.ReLU", lambda numbers: np.maximum(numbers, 0)),
    ],
)
def test_dense_layers_follow_pooling(
    folder: Path, activation: str, function: Callable[[np.ndarray], np.ndarray]
) -> None:
    write_modules(folder, "Normalize", "Dense", "Dropout", pooling={"pooling_mode": "cls"})
    weight, bias = write_dense(folder / "3_Dense", 32, 20, activation)
    found = encoder(folder)
    assert found.dimensions == 20
    near(found.encode(TEXTS), function(unit(expected(folder, "cls")) @ weight.T + bias))


def test_prompts_are_those_of_the_folder(folder: Path) -> None:
    write_modules(folder)
    told = folder / "config_sentence_transformers.json"
    put(told, {"prompts": {"query": "query: ", "passage": "passage: ", "document": ""}})
    found = encoder(folder)
    near(found.encode(["lamp"]), expected(folder, "mean", ["passage: lamp"]))
    near(found.encode_queries(["lamp"]), expected(folder, "mean", ["query: lamp"]))
    put(told, {"prompts": {"query": "query: "}, "default_prompt_name": None})
    near(encoder(folder).encode(["lamp"]), expected(folder, "mean", ["lamp"]))
    put(told, {"prompts": {"any": "query: "}, "default_prompt_name": "any"})
    near(encoder(folder).encode(["lamp"]), expected(folder, "mean", ["query: lamp"]))


def test_prompts_that_are_set_win(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_modules(folder)
    put(folder / "config_sentence_transformers.json", {"prompts": {"query": "small: "}})
    monkeypatch.setenv("PRICING_ENCODER", str(folder))
    monkeypatch.setenv("PRICING_ENCODER_QUERY_PROMPT", "query: ")
    monkeypatch.setenv("PRICING_ENCODER_PASSAGE_PROMPT", "passage: ")
    found = Encoder.from_settings(Settings(home=tmp_path))
    near(found.encode(["lamp"]), expected(folder, "mean", ["passage: lamp"]))
    near(found.encode_queries(["lamp"]), expected(folder, "mean", ["query: lamp"]))


@pytest.mark.parametrize("mode", POOLED)
def test_a_prompt_is_left_out_of_pooling_where_the_folder_says_so(folder: Path, mode: str) -> None:
    write_modules(folder, pooling={"pooling_mode": mode, "include_prompt": False})
    found = encoder(folder, passage_prompt="passage : ")
    tokens = token_vectors(folder, "passage : small lamp")
    if mode == "weightedmean":  # by the place in all that was read
        wanted = np.average(tokens[3:], axis=0, weights=range(4, len(tokens) + 1))
    else:
        wanted = POOLED[mode](tokens[3:])
    near(found.encode(["small lamp", "oak"])[:1], wanted)


def test_only_as_many_tokens_are_read_as_the_folder_says(folder: Path) -> None:
    write_modules(folder, max_seq_length=10)
    found = encoder(folder)
    near(found.encode(["lamp " * 30]), expected(folder, "mean", ["lamp " * 8]))
    near(found.encode(["lamp " * 7]), expected(folder, "mean", ["lamp " * 7]))


@pytest.mark.parametrize(
    ("stated", "tokenizer", "config", "limit"),
    [
        (24, 30, {}, 24),
        (None, 30, {}, 30),
        (None, 10**30, {}, 40),
        (900, 30, {}, 40),
        (None, 50, {"model_type": "xlm-roberta", "pad_token_id": 1}, 38),
        (24, 30, {"max_position_embeddings": None}, 24),
    ],
)
def test_the_length_limit_is_what_is_stated_and_has_positions(
    folder: Path, stated: int | None, tokenizer: int, config: dict[str, Any], limit: int
) -> None:
    write_modules(folder, max_seq_length=stated)
    change(folder / "tokenizer_config.json", model_max_length=tokenizer)
    change(folder / "config.json", **config)
    assert read_usage(folder).length_limit == limit


def test_texts_are_put_into_lower_case_where_the_folder_says_so(folder: Path) -> None:
    write_modules(folder)
    upper, lower = expected(folder, "mean", ["Oak", "oak"])
    near(encoder(folder).encode(["Oak"]), upper)
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    near(encoder(folder).encode(["Oak"]), lower)
    assert not np.allclose(unit(upper), unit(lower), atol=0.01)


def test_a_passage_and_its_prompt_are_read_to_the_end(folder: Path) -> None:
    write_modules(folder, max_seq_length=16)
    found = encoder(folder, passage_prompt="passage : small : ")
    chunks = chunk("lamp", "oak steel drill " * 40, found.passage_tokenizer)
    lengths = [
        found.count_tokens([f"{found.usage.passage_prompt}{at.embedded_text}"])[0] for at in chunks
    ]
    assert max(lengths) in (15, 16)
    assert max(found.count_tokens([at.embedded_text for at in chunks])) < 16


def test_a_transformer_may_have_a_folder_of_its_own(transformer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(transformer, folder / "0_Transformer")
    put(
        folder / "modules.json",
        [
            {"path": f"{place}_{kind}", "type": f"sentence_transformers.models.{kind}"}
            for place, kind in enumerate(["Transformer", "Pooling"])
        ],
    )
    put(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    near(encoder(folder).encode(TEXTS), expected(transformer, "cls"))


def test_a_folder_that_does_not_say_how_it_pools_needs_the_setting(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(PlatformError, match="does not say how") as raised:
        encoder(folder)
    assert "PRICING_ENCODER_POOLING" in raised.value.remedy
    settings = Settings(home=tmp_path, encoder=str(folder), encoder_pooling="cls")
    near(Encoder.from_settings(settings).encode(TEXTS), expected(folder, "cls"))
    put(folder / "1_Pooling" / "config.json", {"pooling_mode_max_tokens": True})
    near(encoder(folder).encode(TEXTS), expected(folder, "max"))
    with pytest.raises(PlatformError, match="says 'max'"):
        Encoder.from_settings(settings)


def test_the_identity_is_of_all_that_vectors_follow_from(folder: Path) -> None:
    write_modules(folder, "Dense", "Normalize", max_seq_length=24)
    write_dense(folder / "2_Dense", 32, 20)
    told = folder / "config_sentence_transformers.json"
    identities = [encoder(folder).identity]

    def differs() -> None:
        identities.append(encoder(folder).identity)
        assert len(set(identities)) == len(identities)

    assert encoder(folder).identity == identities[0]
    change(folder / "1_Pooling" / "config.json", pooling_mode="cls")
    differs()
    change(folder / "1_Pooling" / "config.json", include_prompt=False)
    differs()
    change(folder / "sentence_bert_config.json", max_seq_length=25)
    differs()
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    differs()
    put(told, {"prompts": {"query": "query: "}})
    differs()
    put(told, {"prompts": {"query": "query: ", "document": "passage: "}})
    differs()
    change(
        folder / "2_Dense" / "config.json", activation_function="torch.nn.modules.linear.Identity"
    )
    differs()
    write_dense(folder / "2_Dense", 32, 21)
    differs()
    assert all(len(identity.split(":")[1]) == 64 for identity in identities)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("modules.json", "Router", "asks for the module sentence_transformers.models.Router"),
        ("modules.json", "WordEmbeddings", "WordEmbeddings, which is not known here"),
        ("modules.json", "custom_st.Transformer", "asks for the module custom_st.Transformer"),
        ("modules.json", "Pooling", "Transformer, Pooling, Dense, Pooling"),
        ("config.json", {"auto_map": {"AutoModel": "modeling.Own"}}, "code of the model's own"),
        ("config.json", {"is_encoder_decoder": True}, "encoder with a decoder"),
        ("config.json", {"model_type": "t5"}, r"\(t5\)"),
        (
            "1_Pooling/config.json",
            {"pooling_mode": "attention"},
            "pooling 'attention' is not known",
        ),
        ("1_Pooling/config.json", {"pooling_mode_own": True}, "'pooling_mode_own' is not known"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "of no pooling"),
        ("1_Pooling/config.json", {"word_embedding_dimension": 48}, "vectors of 48 numbers"),
        ("2_Dense/config.json", {"activation_function": "own.Swish"}, "the activation own.Swish"),
        ("2_Dense/config.json", {"in_features": 48}, "for 48 numbers"),
        ("2_Dense/config.json", {"use_residual": True}, "use_residual = True"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
        ("2_Dense/model.safetensors", remove, "has no model.safetensors"),
        ("sentence_bert_config.json", {"model_args": {"rope": 2}}, "asks for model_args"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "'fill-mask'"),
        ("sentence_bert_config.json", {"query_length": 32}, "asks for query_length"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "dot"}, "by 'dot'"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "a SparseEncoder"),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "q"},
            "no prompt of the name",
        ),
        ("config_sentence_transformers.json", {"prompts": {"sts": "a"}}, "prompts for sts"),
        ("config_sentence_transformers.json", {"prompts": {"query": "oak " * 20}}, "20 tokens"),
        ("adapter_config.json", {"r": 4}, "holds an adapter"),
        ("model.safetensors", remove, "has no model.safetensors"),
        ("modules.json", lambda path: path.write_text("{"), "can't be read as JSON"),
        ("1_Pooling/config.json", remove, "with its config.json"),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(
    folder: Path, file: str, values: Any, message: str
) -> None:
    write_modules(folder, "Dense")
    write_dense(folder / "2_Dense", 32, 20)
    assert encoder(folder).dimensions == 20
    path = folder / file
    if callable(values):
        values(path)
    elif isinstance(values, str):
        kind = values if "." in values else f"sentence_transformers.models.{values}"
        put(path, [*json.loads(path.read_text()), {"path": "3_Other", "type": kind}])
    else:
        change(path, **values)
    with pytest.raises(PlatformError, match=message) as raised:
        encoder(folder)
    assert raised.value.remedy


def test_a_dot_product_of_unit_vectors_is_their_cosine(folder: Path) -> None:
    write_modules(folder, "Normalize")
    change(folder / "config_sentence_transformers.json", similarity_fn_name="dot")
    near(encoder(folder).encode(TEXTS), expected(folder, "mean"))


def test_weights_that_are_not_there_are_not_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_modules(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PlatformError, match=r"lacks weights of a BertModel.*: 1 in all"):
        encoder(folder).encode(TEXTS)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(PlatformError, match="can't be read"):
        encoder(folder).encode(TEXTS)


def test_a_model_that_is_not_known_is_told(folder: Path) -> None:
    write_modules(folder)
    change(folder / "config.json", model_type="of-tomorrow")
    with pytest.raises(PlatformError, match=r"can't be read: .*of-tomorrow"):
        encoder(folder).encode(TEXTS)


def test_dense_weights_of_another_shape_are_told(folder: Path) -> None:
    write_modules(folder, "Dense")
    write_dense(folder / "2_Dense", 32, 20)
    change(folder / "2_Dense" / "config.json", out_features=19)
    with pytest.raises(PlatformError, match=r"no linear\.weight for 19 dimensions"):
        encoder(folder).encode(TEXTS)


def test_doctor_shows_how_the_encoder_is_used(folder: Path, tmp_path: Path) -> None:
    write_modules(folder, "Normalize", pooling={"pooling_mode": "cls"})
    settings = Settings(home=tmp_path, encoder=str(folder), encoder_query_prompt="query: ")
    (told,) = diagnosis._encoder(settings)
    assert "cls pooling, 32 dimensions, 24 tokens, query prompt 'query: '" in told.found


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode": "cls"},
        {"pooling_mode": "weightedmean", "include_prompt": False},
        {"pooling_mode": ["max", "mean"]},
        {"pooling_mode": "lasttoken"},
    ],
)
def test_vectors_are_those_of_sentence_transformers(
    folder: Path, tmp_path: Path, pooling: dict[str, Any]
) -> None:
    library = pytest.importorskip("sentence_transformers")
    width = 64 if isinstance(pooling["pooling_mode"], list) else 32
    write_modules(folder, "Dense", "Normalize", pooling=pooling)
    write_dense(folder / "2_Dense", width, 20)
    prompts = {"query": "query : ", "document": "passage : "}
    put(folder / "config_sentence_transformers.json", {"prompts": prompts})
    reference = library.SentenceTransformer(str(folder), device="cpu")
    reference.save(str(tmp_path / "saved"))
    for found in (encoder(folder), encoder(tmp_path / "saved")):
        near(found.encode(TEXTS), reference.encode_document(TEXTS))
        near(found.encode_queries(TEXTS), reference.encode_query(TEXTS))
        assert str(found.usage) == str(encoder(folder).usage)
