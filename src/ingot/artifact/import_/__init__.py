"""Models of other programs as ingots: Hugging Face folders, GGUF files, hub names, adapters."""

from ingot.artifact.import_.cache import cache_folder, cached_ingot, remember, remembered
from ingot.artifact.import_.gguf.open_gguf import open_gguf
from ingot.artifact.import_.hub import HubName, fetch
from ingot.artifact.import_.hugging_face import SourceName, open_folder
from ingot.artifact.import_.opened_model import OpenedModel

__all__ = [
    "HubName",
    "OpenedModel",
    "SourceName",
    "cache_folder",
    "cached_ingot",
    "fetch",
    "open_folder",
    "open_gguf",
    "remember",
    "remembered",
]
