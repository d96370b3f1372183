"""The models that are trained: fit, predict, attribute, save and load; one file per estimator."""
