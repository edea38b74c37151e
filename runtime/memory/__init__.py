"""What fusing takes and how it is kept within a budget: measured memory, exact tiles, the C library's heap."""
