"""Run monitoring: events, metrics, trackers, plots, the live view and the list of runs."""
