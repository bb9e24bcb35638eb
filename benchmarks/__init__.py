"""Side by side with peers and with what the machine can do: one command for each comparison."""
