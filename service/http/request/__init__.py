"""What is done for any request: its body is read, within its limits and its time."""
