"""Data-parallel and fully sharded training over several processes."""
