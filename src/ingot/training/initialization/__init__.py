"""Initial weights of a run: random, warm-started from corpus statistics, or an ingot's."""
