"""What this kernel is: where its structures lie, what its programs may do, and the plan that follows."""
