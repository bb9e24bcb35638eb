"""Model evaluation: loss on text, multiple-choice accuracy and samples."""
