"""From a profile to a benchmark: fio jobs and logs that behave like what was traced, and the proof that they do."""
