"""The same numbers on both sides, by a formula: `cuda/benches/gpu/inputs.rs` has its twin.

A tensor has a name. Its element i is scale × (u(i mod 65521) − ½) + offset in single precision, with u of 24 bits out of a hash of
the place and the name; then it is rounded to the tensor's type.
"""

import math

import torch

from protocol import DEVICE

# A prime, so that rows of a matrix differ.
PERIOD = 65521
MASK = 0xFFFFFFFF
# Elements that a fingerprint looks at: the first of a tensor.
LEADING = 1 << 22


def seed(name):
    """FNV-1a of the name's bytes, 32 bits."""
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 & MASK
    return h


def table(name, scale, offset=0.0):
    """The period of a tensor's elements, float32 on the CPU."""
    h = (torch.arange(PERIOD, dtype=torch.int64, device="cpu") * 2654435761 + seed(name)) & MASK
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> shift)) * factor & MASK
    u = ((h ^ (h >> 16)) >> 8).float() * 2.0**-24
    return (u - 0.5) * scale + offset


def tiled(period, shape, dtype=torch.float32):
    """A tensor on the device that repeats the period."""
    count = math.prod(shape)
    return period.to(dtype).to(DEVICE).repeat(-(-count // PERIOD))[:count].view(shape)


def numbers(name, shape, scale, offset=0.0, dtype=torch.float32):
    """A tensor of the formula on the device."""
    return tiled(table(name, scale, offset), shape, dtype)


def targets(rows, vocab):
    """The chosen token of every row: row × 7919 mod vocab."""
    return torch.arange(rows, device=DEVICE) * 7919 % vocab


def fingerprint(tensor):
    """[‖x‖, x · w] over the tensor's first elements, w between ±1 by the formula."""
    x = tensor.detach().reshape(-1)[:LEADING].double().cpu()
    w = table("fingerprint", 2.0).double().repeat(-(-len(x) // PERIOD))[: len(x)]
    return [x.norm().item(), (x @ w).item()]


def fingerprints(*tensors):
    """Those of several tensors in a row."""
    return [number for tensor in tensors for number in fingerprint(tensor)]
