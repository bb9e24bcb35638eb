"""Training objectives: next-token prediction, supervised fine-tuning and DPO."""
