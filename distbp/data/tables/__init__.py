"""From the cells of tables to the rows of a data set.

- :mod:`.schema`: which column is the target, which are features, and of what kind each is.
- :mod:`.chunks`: the rows of several tables in chunks of equal size.
- :mod:`.cells`: the cells of feature columns as numbers; :mod:`.target_column`: those of the target column.
- :mod:`.statistics`, :mod:`.moments`: what the training rows show of each column.
- :mod:`.builder`: reads tables into a data set, by all of these; :mod:`.stores`: where its rows are collected.
- :mod:`.transform`: new rows for a trained model.
"""
