"""Weight quantization: bfloat16, int8 and int4 (GPTQ), and the packing of tiles."""
