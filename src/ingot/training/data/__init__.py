"""Training data other than a corpus: JSONL records, conversations and preference pairs."""
