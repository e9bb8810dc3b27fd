"""Training runs and comparisons: a run is a function of a frozen `RunConfig`, a comparison a list of runs."""
