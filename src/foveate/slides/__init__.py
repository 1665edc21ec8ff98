"""The only place that opens a slide: geometry, reading, tissue, annotations, lazy glimpses."""
