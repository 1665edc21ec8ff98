"""The name under which the model's classes are saved in Keras files."""

PACKAGE = "foveate"
