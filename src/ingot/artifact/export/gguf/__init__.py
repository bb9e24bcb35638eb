"""GGUF, the format of llama.cpp and ollama."""
