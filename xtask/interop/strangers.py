"""Prints the log-probabilities that transformers computes for the modified checkpoints of cli/tests/strangers.rs.

usage: python strangers.py tests/golden/hf        (needs torch, transformers 5.24)
"""

import json
import pathlib
import shutil
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

IDS = [5, 77, 130, 200, 33, 61, 18, 250, 9, 10, 11, 12, 13, 14, 15]
GOLDEN = pathlib.Path(sys.argv[1])


def scores(change_config=None, change_tensors=None):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / "model"
        shutil.copytree(GOLDEN / "qwen2-tied", folder)
        if change_config:
            config = json.loads((folder / "config.json").read_text())
            change_config(config)
            (folder / "config.json").write_text(json.dumps(config))
        if change_tensors:
            tensors = load_file(folder / "model.safetensors")
            change_tensors(tensors)
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        with torch.no_grad():
            log_probs = model(torch.tensor([IDS])).logits[0].log_softmax(-1)
        return [log_probs[i - 1, IDS[i]].item() for i in range(2, len(IDS))]


def linear(config):
    config["rope_scaling"] = {"type": "linear", "factor": 4.0}


def other_head(tensors):
    embedding = tensors["model.embed_tokens.weight"]
    places = torch.arange(embedding.numel(), dtype=torch.float32).reshape(embedding.shape)
    tensors["lm_head.weight"] = embedding + 0.25 * (places * 0.7).sin()


def base_model(tensors):
    for name in list(tensors):
        tensors[name.removeprefix("model.")] = tensors.pop(name)


for name, values in [
    ("TIED", scores()),
    ("TIED, names of a base model", scores(change_tensors=base_model)),
    ("LINEAR", scores(change_config=linear)),
    ("OTHER_HEAD", scores(change_tensors=other_head)),
]:
    print(name, "[" + ", ".join(f"{value:.6f}" for value in values) + "]")
