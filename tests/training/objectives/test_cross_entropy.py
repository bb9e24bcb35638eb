from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ingot.training.objectives import cross_entropy
from ingot.training.objectives.cross_entropy import summed_cross_entropy, token_cross_entropy


def problem(
    tokens: int, dtype: torch.dtype = torch.float32, vocabulary: int = 50
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(tokens, 8, generator=generator).to(dtype).requires_grad_()
    head = torch.randn(vocabulary, 8, generator=generator).to(dtype).requires_grad_()
    return hidden, head, torch.randint(vocabulary, (tokens,), generator=generator)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "_LARGEST", 7 * 4 * 50)  # seven tokens of 50 logits


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tokens", [8, 28, 61])
def test_chunks_give_the_plain_loss_and_gradients(tokens: int) -> None:
    hidden, head, targets = problem(tokens)
    plain = functional.cross_entropy(hidden @ head.T, targets, reduction="sum") * 0.37
    expected = torch.autograd.grad(plain, (hidden, head))
    chunked = summed_cross_entropy(hidden, head, targets) * 0.37
    found = torch.autograd.grad(chunked, (hidden, head))
    torch.testing.assert_close(chunked, plain, rtol=1e-6, atol=0)
    for gradient, wanted in zip(found, expected, strict=True):
        assert (gradient - wanted).norm() <= 1e-6 * wanted.norm()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tokens", [5, 28, 61])
def test_tokens_losses_give_the_plain_ones_and_their_gradients(tokens: int) -> None:
    hidden, head, targets = problem(tokens)
    factors = torch.linspace(-1, 2, tokens)
    plain = functional.cross_entropy(hidden @ head.T, targets, reduction="none")
    expected = torch.autograd.grad((plain * factors).sum(), (hidden, head))
    chunked = token_cross_entropy(hidden, head, targets)
    torch.testing.assert_close(chunked, plain, rtol=1e-6, atol=1e-6)
    for gradient, wanted in zip(
        torch.autograd.grad((chunked * factors).sum(), (hidden, head)), expected, strict=True
    ):
        assert (gradient - wanted).norm() <= 1e-6 * wanted.norm()


@pytest.mark.usefixtures("small_chunks")
def test_gradients_may_be_asked_for_twice() -> None:
    hidden, head, targets = problem(20)
    loss = summed_cross_entropy(hidden, head, targets)
    first = torch.autograd.grad(loss, head, retain_graph=True)
    second = torch.autograd.grad(loss, head)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.usefixtures("small_chunks")
def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head, targets = problem(20)
    head = head.detach()
    summed_cross_entropy(hidden, head, targets).backward()
    assert hidden.grad is not None
    assert head.grad is None


@pytest.mark.usefixtures("small_chunks")
def test_without_gradients_only_the_loss_is_made() -> None:
    hidden, head, targets = problem(20)
    with torch.no_grad():
        loss = summed_cross_entropy(hidden, head, targets)
    torch.testing.assert_close(
        loss, functional.cross_entropy(hidden @ head.T, targets, reduction="sum")
    )


@pytest.mark.usefixtures("small_chunks")
def test_under_autocast_gradients_come_in_the_weights_own_format() -> None:
    hidden, head, targets = problem(61)
    with torch.autocast("cpu", torch.bfloat16):
        plain = functional.cross_entropy(
            functional.linear(hidden, head).float(), targets, reduction="sum"
        )
        chunked = summed_cross_entropy(hidden, head, targets)
    assert chunked.dtype is torch.float32
    torch.testing.assert_close(chunked, plain, rtol=1e-6, atol=0)
    expected = torch.autograd.grad(plain, (hidden, head))
    for gradient, wanted in zip(
        torch.autograd.grad(chunked, (hidden, head)), expected, strict=True
    ):
        assert gradient.dtype is torch.float32
        assert (gradient - wanted).norm() <= 1e-2 * wanted.norm()


def test_a_large_vocabulary_is_never_whole_in_memory() -> None:
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel() * result.element_size())
            return result

    hidden, head, targets = problem(300, vocabulary=60_000)  # 72 MB of float32 logits
    with Watch():
        summed_cross_entropy(hidden, head, targets).backward()
        token_cross_entropy(hidden, head, targets).sum().backward()
    assert largest <= 64 << 20
