"""Models of scikit-learn, XGBoost and LightGBM: rows of features in, one prediction for each out.

Each library is an extra, imported when the first model of its kind is loaded. As behind KServe's
own servers the only output is `output-0`, and the first input counts whatever its name is.
"""
