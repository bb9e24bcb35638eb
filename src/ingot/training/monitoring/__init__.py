"""Run monitoring: events, metrics, trackers, plots and cost."""
