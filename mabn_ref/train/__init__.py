"""Training runs and comparisons: one run is a function of a frozen `RunConfig`, a comparison is a list of them."""
