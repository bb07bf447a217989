"""What Prometheus is told: families of metrics, one noun a file, and a look at the process."""
