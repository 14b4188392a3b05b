"""Loads checkpoints in Hugging Face transformers: transformers_check.py FOLDER...

Each folder must load unchanged. If it contains an `expected.json`, transformers must reproduce the values in it: token
ids, completion log-probs and entropies, mean prompt hidden state, greedy continuation, chat prompt. Otherwise the model
must give finite logits and continue a prompt.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

TOLERANCE = 1e-4


class Mismatch(Exception):
    pass


def close(what, got, wanted):
    got, wanted = torch.as_tensor(got).double(), torch.as_tensor(wanted).double()
    if got.shape != wanted.shape:
        raise Mismatch(f"{what}: got the shape {tuple(got.shape)}, wanted {tuple(wanted.shape)}")
    error = (got - wanted).abs().max().item()
    if not error <= TOLERANCE:
        raise Mismatch(f"{what}: off by {error:.3e}, wanted at most {TOLERANCE}")


def equal(what, got, wanted):
    if got != wanted:
        raise Mismatch(f"{what}: got {got}, wanted {wanted}")


def check_sequence(model, tokenizer, i, sequence):
    ids, prompt_len = sequence["ids"], sequence["prompt_len"]
    pieces = (tokenizer.encode(sequence[key], add_special_tokens=False) for key in ("prompt", "completion"))
    equal(f"sequence {i}: ids", sum(pieces, []), ids)
    out = model(torch.tensor([ids]), output_hidden_states=True)
    log_probs = out.logits[0, prompt_len - 1 : -1].log_softmax(-1)
    chosen = log_probs.gather(-1, torch.tensor(ids[prompt_len:]).unsqueeze(-1)).squeeze(-1)
    close(f"sequence {i}: logp", chosen, sequence["logp"])
    close(f"sequence {i}: entropy", -(log_probs.exp() * log_probs).sum(-1), sequence["entropy"])
    close(f"sequence {i}: hidden", out.hidden_states[-1][0, :prompt_len].mean(0), sequence["prompt_hidden_mean"])


def check_expected(model, tokenizer, expected):
    for i, sequence in enumerate(expected["sequences"]):
        check_sequence(model, tokenizer, i, sequence)
    first = expected["sequences"][0]
    prompt = torch.tensor([first["ids"][: first["prompt_len"]]])
    equal("greedy", greedy(model, prompt, len(expected["greedy"])), expected["greedy"])
    chat = expected["chat"]
    rendered = tokenizer.apply_chat_template(chat["messages"], add_generation_prompt=True, return_dict=False)
    equal("chat", list(rendered), chat["ids"])


def check_sane(model, tokenizer):
    prompt = torch.tensor([tokenizer.encode("1 2 3 = 6 : ")])
    if prompt.shape[1] == 0 or not model(prompt).logits.isfinite().all():
        raise Mismatch("wanted finite logits for a short prompt")
    greedy(model, prompt, 4)


def greedy(model, prompt, count):
    """Returns `count` token ids, which continue past an end token."""
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, prompt.shape[1] :].tolist()


@torch.inference_mode()
def check(folder):
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    left_over = {key: sorted(map(str, report[key])) for key in ("missing_keys", "unexpected_keys") if report.get(key)}
    if left_over:
        raise Mismatch(f"weights: {left_over}")
    # Reads tokenizer.json as it is. For `qwen2`, AutoTokenizer would replace the file's pre-tokenizer by Qwen2's own.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    expected = Path(folder, "expected.json")
    if expected.is_file():
        check_expected(model.eval(), tokenizer, json.loads(expected.read_text(encoding="utf-8")))
    else:
        check_sane(model.eval(), tokenizer)


def main(folders):
    failed = 0
    for folder in folders:
        try:
            check(folder)
            print(f"{folder}: passed")
        except (Mismatch, OSError, ValueError, KeyError) as error:
            failed += 1
            print(f"{folder}: FAILED: {type(error).__name__}: {error}")
    print(f"checkpoints: {len(folders) - failed} passed, {failed} failed")
    return failed > 0 or not folders


if __name__ == "__main__":
    logging.disable_progress_bar()
    sys.exit(main(sys.argv[1:]))
