"""Evidence for the answer to each practice question, from figures of this lesson."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from ingot.artifact import verify
from ingot.errors import ArtifactError, IngotError
from ingot.lesson.experiments.cache_growth import CacheGrowth
from ingot.lesson.experiments.engine_load import LoadTiming
from ingot.lesson.experiments.full_size import InferenceTrace, UpdateTrace
from ingot.lesson.experiments.phases import Phases

_WEIGHTS = "model.safetensors"


def refused_tampering(ingot: Path, folder: Path) -> str:
    """Flip one bit of the weights in a copy of an ingot; return the words it is refused with.

    Raises:
        IngotError: the copy passed.
    """
    copy = folder / "tampered.ingot"
    shutil.copytree(ingot, copy)
    path = copy / _WEIGHTS
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    try:
        verify(copy)
    except ArtifactError as refusal:
        return str(refusal).replace(f"{copy}/", "")
    finally:
        shutil.rmtree(copy)
    raise IngotError("one changed bit went unnoticed", where=copy)


def updates(update: UpdateTrace, asked: InferenceTrace) -> str:
    """Say which phase changed weights."""
    none_or_some = "none" if asked.digest_before == asked.digest_after else "some"
    return (
        f"one training update changed {update.changed:,} of {update.weights:,} weights "
        f"(digest {update.digest_before[:8]} became {update.digest_after[:8]}); "
        f"{asked.questions} answers changed {none_or_some} "
        f"(digest {asked.digest_before[:8]} before, {asked.digest_after[:8]} after)"
    )


def fixed(tampering: str) -> str:
    """Say what became of a changed copy."""
    return f"one bit of a copy was flipped, and it was refused: {tampering}"


def needs(phases: Phases) -> str:
    """Say what training took more of."""
    flops = phases.training_flops / phases.inference_flops
    memory = phases.training_bytes / (phases.served_bytes + phases.context * phases.kv_bytes)
    return (
        f"this small model read {phases.training_tokens:,} tokens; each cost {flops:.1f} times "
        f"the work of a token served, and training held {memory:.1f} times the memory"
    )


def serves(load: LoadTiming, phases: Phases) -> str:
    """Say who was answered."""
    return (
        f"{load.answers} users asked the engine at once: {load.answers} were answered in "
        f"{_time(load.seconds)}, the first token after {_time(load.first_token_seconds)}; "
        f"the training run read {phases.training_tokens:,} tokens and answered nobody"
    )


def unchanged(growth: CacheGrowth) -> str:
    """Say what serving changed in memory."""
    first, last = growth.rows[0], growth.rows[-1]
    return (
        f"{last.answers} answers took the cache from {first.cache_bytes:,} to "
        f"{last.cache_bytes:,} bytes; the digest over the weights is "
        f"{'the same' if first.digest == last.digest else 'another'}: {last.digest[:8]}"
    )


def tuned(phases: Phases) -> str:
    """Say who waited for what."""
    step = phases.training_speeds[0].milliseconds
    return (
        f"alone, a user had {phases.answer_tokens} tokens after "
        f"{_time(phases.answer_seconds)}; one training update took {step:.0f} ms, "
        "and nobody waited for it"
    )


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
