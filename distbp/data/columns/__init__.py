"""The columns of a table as a model knows them: kinds and statistics, and their encoding as inputs of the network."""
