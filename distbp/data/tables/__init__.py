"""From the cells of tables to the rows of a data set: column roles and kinds, numbers, classes, statistics."""
