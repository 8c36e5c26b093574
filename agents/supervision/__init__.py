"""The science of two supervisors: pure functions over arrays, used by the stream and by the command line alike.

scores         how far an answer can be trusted; class_scores, token_scores and sample_scores compute it
temperature    logits divided by one number, fitted on labelled data
supervisor     the one comparison with a threshold
recording      what both models said about the same inputs
calibration    thresholds from a recording
joint          how likely each of the two answers is right, by both scores and agreement
arbitration    whose answer is taken once both are there, and the score that is thresholded
worth          whether either is better than the paper's rule
"""
