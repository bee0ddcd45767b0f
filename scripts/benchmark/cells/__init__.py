"""What is compared with what; each function is one cell of docs/benchmarks.md."""
