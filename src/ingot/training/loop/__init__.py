"""The training loop: one step, what happens between steps, and the controls from outside."""
