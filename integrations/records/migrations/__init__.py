"""How the tables of the records came to be, one revision per change.

A new one: change schema.py, write versions/rNNNN_what.py by hand, raise CURRENT_REVISION in database.py. The tests
compare the migrated tables with schema.py in both databases.
"""
