"""What an update does with gradients: Muon, AdamW, and rates over a run."""
