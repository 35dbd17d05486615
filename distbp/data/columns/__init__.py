"""Columns of a table as a model knows them: their kinds, their statistics, and their encoding as inputs."""
