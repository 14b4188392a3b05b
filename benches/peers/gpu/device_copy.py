"""A copy on the device, [rows × vocab]: device_copy.py eager --rows N --vocab N."""

import torch

from case import arguments
from inputs import numbers
from protocol import DTYPE, serve

args = arguments(["eager"], "rows", "vocab")
source = numbers("logits", (args.rows, args.vocab), 8.0, dtype=DTYPE)
target = torch.empty_like(source)
serve(lambda: target.copy_(source), calls=args.calls)
