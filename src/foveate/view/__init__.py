"""The viewer: a local page that shows a slide in full resolution with the path that the model took over it."""
