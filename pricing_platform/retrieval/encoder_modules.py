"""How an encoder is to be used: what its authors wrote into its folder, obeyed or refused by name.

Format: sentence-transformers 2 to 6. ``modules.json`` lists the modules in their order, each with a
folder of its own: the transformer, pooling, then dense layers and scaling to unit length. A folder
as ``transformers`` writes it has none of this, and its pooling is told by a setting. Here belongs
reading these files. Computing belongs to ``pooling`` and ``encoder``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, cast, get_args

from pricing_platform.errors import PlatformError
from pricing_platform.model_files import file_sha256

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
Activation = Literal["Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid"]

MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)
"""In the order in which several are put one after the other."""

_MODE_FLAGS: dict[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS: dict[str, Activation] = {
    f"torch.nn.modules.{'linear' if name == 'Identity' else 'activation'}.{name}": name
    for name in get_args(Activation)
}
_MODULES = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")
_TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_LAST_LAYER: dict[str, Any] = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
_QUERY_PROMPTS = ("query",)
_PASSAGE_PROMPTS = ("document", "passage", "corpus")
_NO_LIMIT = 1_000_000  # transformers writes 10**30 where a tokenizer has none
_FIRST_POSITION_IS_AFTER_PADDING = frozenset(
    ["roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer"]
)
_REMEDY = (
    "Set PRICING_ENCODER to an encoder that ends in pooling, dense layers and scaling to unit"
    " length, with its weights as safetensors, or unset it to use the embedded encoder."
)


@dataclass(frozen=True)
class Dense:
    """A layer on the pooled vector: an affine map, then a function of each number."""

    weights: Path
    activation: Activation
    dimensions: int


@dataclass(frozen=True)
class EncoderUsage:
    """How texts become vectors, whatever the weights.

    ``layers`` are what follows pooling, None for scaling to unit length; that is what follows last
    in any case, since vectors are compared by their cosine. ``dimensions`` is the length of the
    vector, ``length_limit`` how many tokens of a text are read, special tokens included.
    ``pools_prompt`` says whether the prompt's own tokens are pooled with the text's.
    """

    transformer_folder: Path
    pooling: tuple[PoolingMode, ...]
    pools_prompt: bool
    layers: tuple[Dense | None, ...]
    dimensions: int
    length_limit: int
    lower_case: bool
    query_prompt: str
    passage_prompt: str

    @property
    def follows_from(self) -> str | None:
        """All but the weights that the vectors follow from, as JSON.

        None where it is what the embedded encoder does, whose vectors are named by its weights.
        """
        told = {
            "pooling": self.pooling,
            "length_limit": self.length_limit,
            "lower_case": self.lower_case,
            "prompts": [self.query_prompt, self.passage_prompt],
            "layers": [
                layer and [file_sha256(layer.weights), layer.activation] for layer in self.layers
            ],
        }
        as_embedded = {
            "pooling": ("mean",),
            "length_limit": 256,
            "lower_case": False,
            "prompts": ["", ""],
            "layers": [],
        }
        if told == as_embedded:
            return None
        return json.dumps({**told, "pools_prompt": self.pools_prompt}, sort_keys=True)

    def __str__(self) -> str:
        """In a line, for people."""
        layers = "".join(
            " > unit length" if layer is None else f" > dense {layer.activation} {layer.dimensions}"
            for layer in self.layers
        )
        prompts = [f"{name} prompt {prompt!r}" for name, prompt in self._prompts() if prompt]
        return (
            f"{'+'.join(self.pooling)} pooling{layers}, {self.dimensions} dimensions,"
            f" {self.length_limit:,} tokens, {', '.join(prompts) or 'no prompts'}"
        )

    def _prompts(self) -> tuple[tuple[str, str], ...]:
        return ("query", self.query_prompt), ("passage", self.passage_prompt)


def read_usage(
    folder: Path,
    *,
    pooling: str | None = None,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
) -> EncoderUsage:
    """How the encoder in the folder is to be used.

    Args:
        folder: in the layout of ``sentence_transformers`` or of ``transformers``.
        pooling: how token vectors become one, for a folder that does not say.
        query_prompt: what stands before a query; wins over the folder's.
        passage_prompt: what stands before what is stored; wins over the folder's.

    Raises:
        PlatformError: when a file is missing or can't be read, or asks for what is not done here.
    """
    modules = _modules(folder)
    transformer = next((path for kind, path in modules if kind == "Transformer"), folder)
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (transformer / file).is_file():
            raise PlatformError(
                f"The encoder in {transformer} has no {file}.",
                "Set PRICING_ENCODER to a folder with config.json, tokenizer.json and"
                " model.safetensors, or unset it to use the embedded encoder.",
            )
    config = _object(transformer / "config.json")
    _refuse_other_models(transformer, config)
    modes, pools_prompt, hidden = _pooling(folder, modules, config, pooling)
    layers, dimensions = _layers(modules, len(modes) * hidden)
    told = _object(folder / "config_sentence_transformers.json", missing={})
    _refuse_other_similarity(folder, told, modules)
    length_limit, lower_case = _reading(transformer, config)
    query, passage = _prompts(folder, told, query_prompt, passage_prompt)
    return EncoderUsage(
        transformer_folder=transformer,
        pooling=modes,
        pools_prompt=pools_prompt,
        layers=layers,
        dimensions=dimensions,
        length_limit=length_limit,
        lower_case=lower_case,
        query_prompt=query,
        passage_prompt=passage,
    )


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """The kinds of the modules in their order, with their folders; none where none are listed."""
    path = folder / "modules.json"
    if not path.is_file():
        pooling = folder / "1_Pooling"
        return [("Pooling", pooling)] if (pooling / "config.json").is_file() else []
    modules = []
    for module in _json(path):
        if not isinstance(module, dict) or not isinstance(module.get("type"), str):
            _refuse(f"{path} is not a list of modules.")
        package, _, kind = module["type"].rpartition(".")
        if package.split(".")[0] != "sentence_transformers" or kind not in _MODULES:
            _refuse(f"{path} asks for the module {module['type']}, which is not known here.")
        if module.get("kwargs"):
            _refuse(f"{path} asks for {module['kwargs']} of {module['type']}.")
        modules.append((kind, folder / str(module.get("path", ""))))
    kinds = [kind for kind, _ in modules]
    if (
        kinds[:2] != ["Transformer", "Pooling"]
        or {"Transformer", "Pooling"} & {*kinds[2:]}
        or not (modules[1][1] / "config.json").is_file()
    ):
        _refuse(
            f"{path} has the modules {', '.join(kinds) or 'none'}: a transformer, then pooling"
            " with its config.json, then dense layers and scaling are what is done here."
        )
    return modules


def _refuse_other_models(folder: Path, config: Mapping[str, Any]) -> None:
    where = folder / "config.json"
    if config.get("auto_map"):
        _refuse(f"{where} asks for code of the model's own (auto_map), which is never run here.")
    kind = str(config.get("model_type"))
    if config.get("is_encoder_decoder") or kind.endswith("t5"):
        _refuse(f"{where} is of an encoder with a decoder ({kind}), which is not known here.")
    if (folder / "adapter_config.json").is_file():
        _refuse(f"{folder} holds an adapter (adapter_config.json): merge it into the weights.")


def _pooling(
    folder: Path,
    modules: Sequence[tuple[str, Path]],
    config: Mapping[str, Any],
    setting: str | None,
) -> tuple[tuple[PoolingMode, ...], bool, int]:
    """The modes, whether the prompt is pooled with the text, and the length of a token's vector."""
    named = (config.get(name) for name in ("hidden_size", "dim", "n_embd", "d_model"))
    hidden = next((size for size in named if isinstance(size, int)), None)
    at = next((path for kind, path in modules if kind == "Pooling"), None)
    if at is None:
        if setting is None:
            raise PlatformError(
                f"The encoder in {folder} does not say how the vectors of its tokens become one: it"
                " has neither modules.json nor 1_Pooling/config.json.",
                "Put these files of its authors there, or set PRICING_ENCODER_POOLING to what the"
                " model's card says: mean (as e5 and gte), cls (as bge) or lasttoken.",
            )
        if hidden is None:
            _refuse(f"{folder / 'config.json'} has no hidden_size.")
        return _known_modes(folder, [setting]), True, hidden
    path = at / "config.json"
    told = _object(path)
    modes = _known_modes(path, _stated_modes(path, told))
    if setting is not None and (setting,) != modes:
        raise PlatformError(
            f"PRICING_ENCODER_POOLING is {setting!r}, and {path} says {'+'.join(modes)!r}.",
            "Unset PRICING_ENCODER_POOLING: it is for a folder that does not say.",
        )
    stated = told.get("embedding_dimension", told.get("word_embedding_dimension"))
    if isinstance(stated, int) and hidden not in (None, stated):
        _refuse(f"{path} is for vectors of {stated} numbers, and the model's have {hidden}.")
    hidden = hidden or stated
    if not isinstance(hidden, int):
        _refuse(f"{path} has no embedding_dimension.")
    return modes, told.get("include_prompt", True) is not False, hidden


def _stated_modes(path: Path, told: Mapping[str, Any]) -> list[Any]:
    found = told.get("pooling_mode")
    if found is not None:
        return list(found) if isinstance(found, list) else [found]
    unknown = [
        name
        for name, value in told.items()
        if name.startswith("pooling_mode_") and value and name not in _MODE_FLAGS
    ]
    if unknown:
        return unknown
    flags = [mode for name, mode in _MODE_FLAGS.items() if told.get(name)]
    if not flags:
        _refuse(f"{path} says of no pooling that it is used.")
    return flags


def _known_modes(where: Path, modes: Sequence[Any]) -> tuple[PoolingMode, ...]:
    for mode in modes:
        if mode not in MODES:
            _refuse(f"{where}: the pooling {mode!r} is not known; known are {', '.join(MODES)}.")
    if not modes:
        _refuse(f"{where} names no pooling.")
    return cast("tuple[PoolingMode, ...]", tuple(modes))


def _layers(
    modules: Sequence[tuple[str, Path]], dimensions: int
) -> tuple[tuple[Dense | None, ...], int]:
    """What follows pooling, and the length of the vector then."""
    layers: list[Dense | None] = []
    for kind, path in modules:
        if kind == "Dense":
            layer = _dense(path, dimensions)
            layers.append(layer)
            dimensions = layer.dimensions
        elif kind == "Normalize":
            told = _object(path / "config.json", missing={})
            _require(path / "config.json", told, {"module_input_name": "sentence_embedding"})
            layers.append(None)
    while layers and layers[-1] is None:  # what is done last in any case
        layers.pop()
    return tuple(layers), dimensions


def _dense(folder: Path, dimensions: int) -> Dense:
    path, weights = folder / "config.json", folder / "model.safetensors"
    told = _object(path)
    activation = told.get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation is None:
        activation = "torch.nn.modules.linear.Identity"
    if activation not in _ACTIVATIONS:
        _refuse(f"{path} asks for the activation {activation}, which is not known here.")
    for name in ("module_input_name", "module_output_name"):
        _require(path, told, {name: "sentence_embedding"})
    _require(path, told, {"use_residual": False})
    if told.get("in_features") != dimensions or not isinstance(told.get("out_features"), int):
        _refuse(
            f"{path} is for {told.get('in_features')} numbers, and what comes before has"
            f" {dimensions}."
        )
    if not weights.is_file():
        _refuse(f"{folder} has no model.safetensors.")
    return Dense(weights, _ACTIVATIONS[activation], told["out_features"])


def _refuse_other_similarity(
    folder: Path, told: Mapping[str, Any], modules: Sequence[tuple[str, Path]]
) -> None:
    """Vectors of unit length have one order by cosine, by dot product and by distance."""
    path = folder / "config_sentence_transformers.json"
    if told.get("model_type") not in (None, "SentenceTransformer"):
        _refuse(f"{path} is of a {told['model_type']}, which is no encoder of texts to vectors.")
    kinds = [kind for kind, _ in modules if kind != "Dropout"]
    unit = kinds[-1:] == ["Normalize"]
    same = ("cosine", "dot", "euclidean") if unit else ("cosine",)
    similarity = told.get("similarity_fn_name")
    if similarity is not None and similarity not in same:
        _refuse(
            f"{path} compares vectors{'' if unit else ' of any length'} by {similarity!r}; here"
            " they are compared by their cosine."
        )


def _reading(folder: Path, config: Mapping[str, Any]) -> tuple[int, bool]:
    """How many tokens of a text are read, and whether it is put into lower case before.

    What is stated is at most what the model has positions for.
    """
    files = (folder / name for name in _TRANSFORMER_FILES)
    path = next((path for path in files if path.is_file()), folder / _TRANSFORMER_FILES[0])
    told = dict(_object(path, missing={}))
    stated, lower_case = told.pop("max_seq_length", None), bool(told.pop("do_lower_case", False))
    _require(path, told, _LAST_LAYER)
    known = {*_LAST_LAYER, "unpad_inputs"}  # the latter is how batches are computed, not what
    other = sorted(name for name, value in told.items() if value and name not in known)
    if other:
        _refuse(f"{path} asks for {', '.join(other)}, which is not known here.")
    if stated is None:
        tokenizer = _object(folder / "tokenizer_config.json", missing={})
        stated = tokenizer.get("model_max_length")
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if isinstance(positions, int) and config.get("model_type") in _FIRST_POSITION_IS_AFTER_PADDING:
        positions -= 1 + int(config.get("pad_token_id", 1))
    limits = [
        int(limit)
        for limit in (stated, positions)
        if isinstance(limit, int | float) and 2 < limit < _NO_LIMIT
    ]
    if not limits:
        _refuse(f"{folder} does not say how many tokens are read: it has no max_seq_length.")
    return min(limits), lower_case


def _prompts(
    folder: Path, told: Mapping[str, Any], query: str | None, passage: str | None
) -> tuple[str, str]:
    """What stands before a query, and before what is stored."""
    path = folder / "config_sentence_transformers.json"
    prompts = told.get("prompts") or {}
    if not isinstance(prompts, dict):
        _refuse(f"{path}: prompts is not an object.")
    default = told.get("default_prompt_name")
    if default is not None and default not in prompts:
        _refuse(f"{path} has no prompt of the name {default!r}, which it names as the default.")
    prompts = {name: text for name, text in prompts.items() if text}
    known = {*_QUERY_PROMPTS, *_PASSAGE_PROMPTS, default}
    if prompts and not known & prompts.keys() and query is None and passage is None:
        raise PlatformError(
            f"{path} has prompts for {', '.join(sorted(prompts))}, and none of them is for queries"
            " or passages.",
            "Set PRICING_ENCODER_QUERY_PROMPT, PRICING_ENCODER_PASSAGE_PROMPT or both to the texts"
            " that are meant.",
        )

    def chosen(setting: str | None, names: Sequence[str]) -> str:
        if setting is not None:
            return setting
        named = [prompts[name] for name in names if name in prompts]
        return str(named[0] if named else prompts.get(default, ""))

    return chosen(query, _QUERY_PROMPTS), chosen(passage, _PASSAGE_PROMPTS)


def _require(path: Path, told: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if told.get(name) not in (None, value):
            _refuse(f"{path} asks for {name} = {told[name]!r}; here it is {value!r}.")


def _object(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    if missing is not None and not path.is_file():
        return missing
    found = _json(path)
    if not isinstance(found, dict):
        _refuse(f"{path} is not a JSON object.")
    return cast("dict[str, Any]", found)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        _refuse(f"{path} can't be read as JSON: {error}.")


def _refuse(what: str) -> NoReturn:
    raise PlatformError(what, _REMEDY)
