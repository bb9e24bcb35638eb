"""The lesson's experiments: each runs both phases and measures what differs."""
