"""The ingot format on disk and in memory: manifest, tensors, folder layout, sealed pages."""
