"""Studies over the configs of training.jobs; none is shipped yet."""
