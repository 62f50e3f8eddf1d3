"""Proofs that take more than a function call: faults under load, kill points, mutants."""
