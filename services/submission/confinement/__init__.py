"""What the programs that read or run packages may ask of the kernel."""
