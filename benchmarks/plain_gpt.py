"""A plain GPT in PyTorch: the baseline of ``benchmarks.train``.

GPT-2's architecture, float32, eager, AdamW. Run as a program it trains on the first
nine tenths of a text, character by character, and prints what came of it as JSON::

    python -m benchmarks.plain_gpt TEXT [--seed 0] [--steps 2000]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

_RATE, _FLOOR, _WARMUP, _DECAY, _CLIP = 1e-3, 0.1, 100, 0.1, 1.0
_ROWS = 64  # windows scored at a time


class Block(nn.Module):
    """Pre-norm attention and feed-forward, with biases, as in GPT-2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        split = (*x.shape[:2], self.heads, -1)
        q, k, v = (
            part.view(split).transpose(1, 2) for part in self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + self.down(functional.gelu(self.up(self.norm_2(x))))
        return out


class PlainGPT(nn.Module):
    """Learned positions, tied embedding."""

    def __init__(self, vocabulary: int, *, layers: int, width: int, heads: int, context: int):
        super().__init__()
        self.tokens, self.positions = (
            nn.Embedding(vocabulary, width),
            nn.Embedding(context, width),
        )
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (B, T, V) for ids (B, T)."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)

    def loss(self, windows: Tensor) -> Tensor:
        """Return the mean cross-entropy over windows (B, T+1)."""
        return functional.cross_entropy(
            self(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten()
        )


def adamw(model: nn.Module) -> torch.optim.AdamW:
    """Return the optimizer of the plain recipe."""
    return torch.optim.AdamW(model.parameters(), lr=_RATE, betas=(0.9, 0.99), weight_decay=_DECAY)


def update(model: PlainGPT, optimizer: torch.optim.Optimizer, windows: Tensor) -> None:
    """Make one update."""
    optimizer.zero_grad()
    model.loss(windows).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
    optimizer.step()


def train(text: str, *, steps: int, seed: int, context: int = 64, batch: int = 12) -> float:
    """Train the plain recipe and return the loss over the last tenth, in nats per character."""
    torch.manual_seed(seed)
    characters = {character: number for number, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([characters[character] for character in text])
    border = int(0.9 * len(ids))
    train_ids, held_out = ids[:border], ids[border:]
    model = PlainGPT(len(characters), layers=4, width=128, heads=4, context=context)
    optimizer = adamw(model)
    for step in range(steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        rate = _RATE * min(1, (step + 1) / _WARMUP) * (_FLOOR + (1 - _FLOOR) * cosine)
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(len(train_ids) - context, (batch,))
        update(model, optimizer, torch.stack([train_ids[i : i + context + 1] for i in starts]))
    return _score(model, held_out, context)


@torch.no_grad()
def _score(model: PlainGPT, ids: Tensor, context: int) -> float:
    """Return the mean loss over every character but the first, in adjacent windows."""
    total, predicted = 0.0, len(ids) - 1
    for start in range(0, predicted, context * _ROWS):
        part = ids[start : start + context * _ROWS + 1]
        whole = (len(part) - 1) // context * context
        for begin, length in ((0, context), (whole, len(part) - 1 - whole)):
            end = whole if begin == 0 else len(part) - 1
            if end > begin:
                inputs = part[begin:end].view(-1, length)
                targets = part[begin + 1 : end + 1]
                logits = model(inputs).flatten(0, 1)
                total += functional.cross_entropy(logits, targets, reduction="sum").item()
    return total / predicted


def main() -> None:
    """Run the plain recipe on a text."""
    started = time.perf_counter()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_gpt")
    parser.add_argument("text", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()
    loss = train(given.text.read_text(encoding="utf-8"), steps=given.steps, seed=given.seed)
    seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"loss": loss, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
