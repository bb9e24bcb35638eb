"""Low-rank adapters (LoRA), in memory and on disk."""
