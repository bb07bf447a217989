"""How errors are answered, whoever raised them: by the table, and by nothing else."""
