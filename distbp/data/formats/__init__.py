"""Readers, one module per kind of file: each turns what it finds into tables or arrays, and knows nothing of models."""
