"""A trained network: its weights and what its outputs stand for, its files, its predictions and a look inside."""
