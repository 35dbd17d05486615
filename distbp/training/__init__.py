"""Training: setup, the loop, early stopping, network health, and the executor that computes the steps."""
