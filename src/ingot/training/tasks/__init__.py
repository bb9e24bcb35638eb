"""What a run learns: text, talks or preferences, and from where."""
