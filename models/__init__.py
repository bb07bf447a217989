"""What training writes and serving reads: the contract, the repository, the zoo."""
