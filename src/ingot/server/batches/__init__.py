"""Uploaded files and batches of requests, kept on disk and answered in the background."""
