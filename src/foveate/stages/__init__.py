"""One module a pipeline stage: read inputs, call the libraries, write outputs."""
