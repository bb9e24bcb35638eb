"""GGUF, the format of llama.cpp: header, blocks, architectures, tokenizers."""
