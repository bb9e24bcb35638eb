"""Tests of the whole server through its sockets; a test of one module lies beside its mirror."""
