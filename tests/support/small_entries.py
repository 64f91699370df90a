"""Entries of one or two files, as other people write them."""

import shutil
from pathlib import Path

from entry_folders import ROOT

INFO = """submission_name: Small
submission_folder: {name}
authors: A. Author
affiliations: A University
version: "1.0"
ruleset: {ruleset}
framework: {framework}
description: Plain gradient descent.
"""

SUBMISSION = '''"""Gradient descent."""

import numpy as np

from algoperf import spec

{more}
HPARAMS = {{"learning_rate": 0.1}}
SIZES = {{
    "criteo1tb": 262144,
    "fastmri": 32,
    "imagenet_resnet": 1024,
    "imagenet_vit": 1024,
    "librispeech_conformer": 256,
    "librispeech_deepspeech": 256,
    "ogbg": 512,
    "wmt": 128,
}}


def get_batch_size(workload_name):
    if workload_name not in SIZES:
        raise ValueError(workload_name)
    return SIZES[workload_name]


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    {init}
    return {{}}, spec


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch,
    loss_type, optimizer_state, eval_results, global_step, rng, train_state=None,
):
    {update}
    return optimizer_state, np.zeros(1), model_state


def data_selection(
    workload, input_queue, optimizer_state, current_param_container, model_state, hyperparameters,
    global_step, rng,
):
    return next(input_queue)
'''


def write(
    root: Path,
    ruleset: str = "self_tuning",
    name: str = "small",
    framework: str = "JAX",
    more: str = "",
    init: str = "pass",
    update: str = "pass",
    **files: str,
) -> Path:
    """An entry in `root`, good as it is; `more`, `init` and `update` go into its submission.py.

    Further Python files by their names, `helper` for helper.py.
    """
    folder = root / ruleset / name
    folder.mkdir(parents=True)
    word = {"self_tuning": "self-tuning", "external_tuning": "external"}[ruleset]
    texts = {
        "submission.py": SUBMISSION.format(more=more, init=init, update=update),
        "__init__.py": "",
        "README.md": "Small\n",
        "submission_info.yml": INFO.format(name=name, ruleset=word, framework=framework),
    }
    texts |= {f"{key}.py": text for key, text in files.items()}
    for key, text in texts.items():
        (folder / key).write_text(text)
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    return folder
