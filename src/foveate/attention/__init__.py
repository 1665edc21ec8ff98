"""The recurrent visual attention model: Keras and mathematics, no files."""
