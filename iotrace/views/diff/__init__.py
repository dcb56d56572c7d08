"""What is different between two runs: rates and shapes, so that runs of different length compare."""
