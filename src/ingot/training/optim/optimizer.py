"""Muon for the matrices of the blocks, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ingot.errors import TrainingError
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.distributed.fsdp import full, shard, unshard
from ingot.training.optim.adamw import KINDS, AdamW, Group
from ingot.training.optim.muon import Muon


class Optimizer:
    """Puts each trainable parameter into exactly one group and updates them all.

    Args:
        model: The model, its parameters in float32.
        config: Learning rates and the method.
        dtype: Format in which Muon orthogonalises; bfloat16 suffices where products use it.
    """

    def __init__(
        self, model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32
    ) -> None:
        self.config = config
        self._names: dict[Tensor, str] = {p: name for name, p in _trained(model)}
        groups = _split(model)
        _require_each_once(groups, self._names)
        matrices = groups.pop("matrix")
        self._muon = Muon(
            matrices if config.method == "muon" else [],
            rate=config.muon_lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            dtype=dtype,
        )
        rates = {
            "embedding": config.embedding_lr,
            "head": config.head_lr,
            "norm": config.norm_lr,
            "adapter": config.adapter_lr,
            "matrix": config.matrix_lr,
        }
        if config.method == "adamw":
            groups["matrix"] = matrices
        self._adamw = AdamW(
            [
                Group(parameters, rates[kind], config.weight_decay if kind == "matrix" else 0.0)
                for kind, parameters in groups.items()
            ],
            config.betas,
        )

    def step(self, lr_scale: float, accepted: Tensor | None = None) -> None:
        """Update every parameter with ``lr_scale`` times its full learning rate.

        Args:
            lr_scale: Of the learning rates.
            accepted: Bool scalar on the parameters' device, which is not waited for; if it is
                false, parameters and state keep their values, whatever the gradients hold.
        """
        if accepted is None:
            device = next(iter(self._names)).device
            accepted = torch.ones((), dtype=torch.bool, device=device)
        self._adamw.step(lr_scale, accepted)
        self._muon.step(lr_scale, accepted)

    def clip(self) -> Tensor:
        """Return the global gradient norm, after scaling gradients down where configured."""
        parameters = list(self._names)
        limit = self.config.clip_norm
        if limit is None:
            gradients = [p.grad for p in parameters if p.grad is not None]
            return full(nn.utils.get_total_norm(gradients))
        return full(nn.utils.clip_grad_norm_(parameters, limit))

    def zero_grad(self) -> None:
        """Release the gradients."""
        for parameter in self._names:
            parameter.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """Return all state by name: ``KIND.PARAMETER``; a collective call."""
        state = {
            f"{kind}.{self._names[parameter]}": value
            for parameter in self._adamw.state
            for kind, value in self._adamw.full_state(parameter).items()
        }
        momenta = self._muon.momenta()
        return state | {f"muon.{self._names[p]}": unshard(own, p) for p, own in momenta.items()}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``state_tensors`` returned.

        Raises:
            TrainingError: a tensor is missing or has another shape.
        """
        momenta = self._muon.momenta()
        for parameter, name in self._names.items():
            if isinstance(parameter, nn.Parameter) and parameter in momenta:
                own = momenta[parameter]
                value = _matching(tensors, f"muon.{name}", parameter.shape)
                own.copy_(shard(value.to(own.device), parameter))
                continue
            self._adamw.load(
                parameter,
                {
                    kind: _matching(
                        tensors, f"{kind}.{name}", () if kind == "step" else parameter.shape
                    )
                    for kind in KINDS
                },
            )


def _split(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    groups: dict[str, list[nn.Parameter]] = {
        kind: [] for kind in ("embedding", "head", "norm", "adapter", "matrix")
    }
    for name, parameter in _trained(model):
        if name in {"model.embed_tokens.weight", "model.position_embeddings.weight"}:
            kind = "embedding"
        elif name == "lm_head.weight":
            kind = "head"
        elif ".lora_" in name:  # low-rank factors: orthogonalising them is another method
            kind = "adapter"
        else:  # biases go with the norms: both are vectors, and neither decays
            kind = "matrix" if parameter.ndim == 2 else "norm"
        groups[kind].append(parameter)
    return groups


def _require_each_once(
    groups: Mapping[str, list[nn.Parameter]], names: Mapping[Tensor, str]
) -> None:
    """Refuse groups that leave a parameter out or hold it twice."""
    grouped = [parameter for group in groups.values() for parameter in group]
    if len(grouped) != len(names) or set(grouped) != set(names):
        wrong = [name for p, name in names.items() if sum(p is other for other in grouped) != 1]
        raise TrainingError(f"parameters are not in exactly one group: {', '.join(wrong)}")


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _matching(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or tensor.shape != torch.Size(shape):
        raise TrainingError(f"optimizer state {name!r} is missing or of another shape")
    return tensor
