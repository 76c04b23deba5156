"""Many runs for one answer: a capacity, a crossover, a sweep."""
