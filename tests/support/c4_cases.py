"""A C4 workload of a tiny size over a made-up corpus in bytes, in both frameworks."""

import json
from pathlib import Path

import jax
import numpy as np
import torch

from algoperf_api import spec
from workloads_overrides.base import param_map
from workloads_overrides.c4.c4_jax.workload import JaxC4Workload
from workloads_overrides.c4.c4_pytorch.workload import PytorchC4Workload
from workloads_overrides.c4.config import ModelConfig
from workloads_overrides.c4.meta import META, Meta
from workloads_overrides.c4.numerics import pytorch_name
from workloads_overrides.c4.tokenizers import ByteTokenizer
from workloads_overrides.c4.workload import BaseC4Workload
from workloads_overrides.c4.writer import write_split

TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL
TINY = ModelConfig(hidden=32, ffn=88, layers=2, heads=4, vocab=258)
DATA_RNG = np.array([3, 14], np.uint32)
BYTES = ByteTokenizer()


class TinySizes:
    """Of a workload over `write_corpus`."""

    model_config = TINY
    context_length = 16
    train_rows = 60
    eval_train_rows = 20
    validation_rows = 21
    test_rows = 5
    eval_rows_per_batch = 8


class TinyConstants(TinySizes, BaseC4Workload):
    tokenizer_sha256 = BYTES.sha256


class TinyJax(TinyConstants, JaxC4Workload):
    pass


class TinyTorch(TinyConstants, PytorchC4Workload):
    pass


class HalfJax(TinyJax):
    compute_dtype = "bfloat16"


class HalfTorch(TinyTorch):
    compute_dtype = "bfloat16"


def corpus(count: int, seed: int) -> list[str]:
    """Documents of words that follow each other in a learnable way; some are not ASCII."""
    rng = np.random.default_rng(seed)
    words = ["the", "cat", "séance", "of", "a", "dog", "☃", "runs", "and", "sits"]
    texts = []
    for _ in range(count):
        word, text = int(rng.integers(10)), []
        for _ in range(int(rng.integers(1, 12))):
            text.append(words[word])
            word = (3 * word + int(rng.integers(2))) % 10
        texts.append(" ".join(text))
    return texts


def write_corpus(data_dir: Path, row_tokens: int = 0, shard_tokens: int = 500, **changed) -> Meta:
    """`data_dir`/c4 with splits of the corpus in several shards; `changed` entries of meta.json."""
    folder = data_dir / "c4"
    folder.mkdir(parents=True)
    splits = {
        split: write_split(
            folder, split, BYTES, [texts[:7], texts[7:]], row_tokens, shard_tokens=shard_tokens
        )
        for split, texts in corpora().items()
    }
    layout = "truncated" if row_tokens else "packed"
    meta = Meta(layout, row_tokens, BYTES.name, BYTES.sha256, BYTES.vocab_size, splits)
    (folder / META).write_text(json.dumps(meta.to_json() | changed))
    return meta


def corpora() -> dict[str, list[str]]:
    sizes = {"train": 60, "validation": 21, "test": 12}
    return {split: corpus(count, seed) for seed, (split, count) in enumerate(sizes.items())}


def random_params(config: ModelConfig, dtype=np.float32, seed: int = 0) -> dict[str, np.ndarray]:
    """{PyTorch's name: array}, scaled as in a network that has been trained for a while."""
    rng = np.random.default_rng(seed)
    params = {}
    for path, tensor in config.tensors().items():
        module, leaf = path.replace("/", ".").rsplit(".", 1)
        array = rng.normal(size=tensor.shape)
        if tensor.role == "vector":
            array = 1 + 0.2 * array
        elif tensor.role == "matrix":
            array = array / np.sqrt(tensor.shape[0])
        else:
            array = 0.3 * array
        turned = array.T if leaf == "kernel" else array
        params[f"{pytorch_name(module)}.weight"] = turned.astype(dtype)
    return params


def jax_container(workload: JaxC4Workload, values: dict[str, np.ndarray]):
    """Parameters as flax has them."""
    like, _ = workload.init_model_fn(jax.random.PRNGKey(0))
    return param_map.to_flax(values, like, workload.pytorch_name)


def torch_container(workload: PytorchC4Workload, values: dict[str, np.ndarray]):
    """The module with these parameters, in their precision."""
    model, _ = workload.init_model_fn(np.array([1, 2]))
    dtype = torch.tensor(next(iter(values.values()))).dtype
    model.to(dtype).load_state_dict({name: torch.tensor(array) for name, array in values.items()})
    return model
