"""The lesson: training against inference, each claim shown by running it."""
