"""Several machines: training and serving on Ray, training under torchrun."""
