"""The same training step in torch, in a process of its own: `python sets_peer.py dense|ragged`
prints seconds per step, minimum and median."""

import sys
import time

import numpy as np
import torch
from torch import nn

JETS, MOST, FEATURES = 500, 100, 4
INNER, OUTER = (100, 100, 256), (100, 100, 100)


def stack(sizes, last):
    layers = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*(layers if last else layers[:-1]))


def main(form: str, repeats: int = 30) -> None:
    random = np.random.default_rng(0)
    counts = random.integers(20, MOST + 1, JETS)
    mask = np.arange(MOST) < counts[:, None]
    particles = random.standard_normal((JETS, MOST, FEATURES)).astype(np.float32)
    quark = torch.tensor((random.random(JETS) < 0.5).astype(np.float32))
    inner, outer = stack((FEATURES, *INNER), True), stack((INNER[-1], *OUTER, 1), False)
    optimiser = torch.optim.Adam([*inner.parameters(), *outer.parameters()], lr=1e-3)
    dense, there = torch.tensor(particles), torch.tensor(mask.astype(np.float32))
    flat, owner = torch.tensor(particles[mask]), torch.tensor(np.repeat(np.arange(JETS), counts))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        optimiser.zero_grad()
        if form == "dense":
            sums = torch.einsum("jp,jpc->jc", there, inner(dense))
        else:
            sums = torch.zeros(JETS, INNER[-1]).index_add(0, owner, inner(flat))
        loss = nn.functional.binary_cross_entropy_with_logits(outer(sums)[:, 0], quark)
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    print("seconds", min(seconds[3:]), float(np.median(seconds[3:])))


if __name__ == "__main__":
    main(sys.argv[1])
