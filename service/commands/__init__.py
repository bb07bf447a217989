"""What the console command does beside serving, and the lines it prints."""
