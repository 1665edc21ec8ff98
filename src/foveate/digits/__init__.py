"""The experiments of the paper and the thesis on handwritten digits: data, tasks, and pictures of the glimpse paths."""
