"""Shared code of the cases on a GPU: their arguments, and a whole iteration as one CUDA graph."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch  # noqa: E402

from protocol import DEVICE, absent  # noqa: E402


def arguments(modes, *sizes, texts=()):
    """Parses `SCRIPT MODE --SIZE N ... --TEXT WORDS ...`. All of these must be given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=modes)
    parser.add_argument("--calls", type=int, default=1)
    for size in sizes:
        parser.add_argument(f"--{size}", type=int, required=True)
    for text in texts:
        parser.add_argument(f"--{text}", required=True)
    return parser.parse_args()


def graphed(step):
    """Captures `step`, which must read and write the same tensors each time, as one CUDA graph with a single launch."""
    if DEVICE != "cuda":
        absent("a CUDA graph needs a GPU")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def token_log_probs(logits, chosen):
    """Returns log π of the chosen token of every row, in float32, from logits of any type."""
    return torch.log_softmax(logits, -1, dtype=torch.float32).gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
