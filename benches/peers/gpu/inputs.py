"""Inputs computed by a formula, so that both sides get the same numbers. `cuda/benches/gpu/inputs.rs` is the twin.

A tensor has a name. Its element i is scale × (u(i mod 65521) − ½) + offset in single precision, where u has 24 bits of a
hash of the index and the name. The element is then rounded to the tensor's type.
"""

import math

import torch

from protocol import DEVICE

# The period is a prime, so that the rows of a matrix differ.
PERIOD = 65521
MASK = 0xFFFFFFFF
# Number of elements in a fingerprint, from the start of a tensor.
LEADING = 1 << 22


def seed(name):
    """Returns FNV-1a of the name's bytes, in 32 bits."""
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 & MASK
    return h


def table(name, scale, offset=0.0):
    """Returns one period of a tensor's elements, in float32 on the CPU."""
    h = (torch.arange(PERIOD, dtype=torch.int64, device="cpu") * 2654435761 + seed(name)) & MASK
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> shift)) * factor & MASK
    u = ((h ^ (h >> 16)) >> 8).float() * 2.0**-24
    return (u - 0.5) * scale + offset


def tiled(period, shape, dtype=torch.float32):
    """Returns a tensor on the device that repeats the period."""
    count = math.prod(shape)
    return period.to(dtype).to(DEVICE).repeat(-(-count // PERIOD))[:count].view(shape)


def numbers(name, shape, scale, offset=0.0, dtype=torch.float32):
    """Returns a tensor on the device with the numbers of the formula."""
    return tiled(table(name, scale, offset), shape, dtype)


def targets(rows, vocab):
    """Returns the chosen token of every row: row × 7919 mod vocab."""
    return torch.arange(rows, device=DEVICE) * 7919 % vocab


def fingerprint(tensor):
    """Returns [‖x‖, x · w] over the first elements of a tensor, with w between ±1 from the formula."""
    x = tensor.detach().reshape(-1)[:LEADING].double().cpu()
    w = table("fingerprint", 2.0).double().repeat(-(-len(x) // PERIOD))[: len(x)]
    return [x.norm().item(), (x @ w).item()]


def fingerprints(*tensors):
    """Returns the concatenated fingerprints of several tensors."""
    return [number for tensor in tensors for number in fingerprint(tensor)]
