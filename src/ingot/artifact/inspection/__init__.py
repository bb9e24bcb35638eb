"""What an ingot holds, in figures, tables and pictures, and how two of them differ."""
