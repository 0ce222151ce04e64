"""Models in PMML, evaluated here: regressions, trees, and ensembles and chains of them.

No library reads PMML from Python without a Java machine or all of scikit-learn. What is understood
is what those model kinds use; anything else in a file is refused by its name when it is loaded.
"""
