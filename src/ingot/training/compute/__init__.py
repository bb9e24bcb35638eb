"""The forward and backward pass: compilation, precision, attention and fused modules."""
