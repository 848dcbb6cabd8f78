"""Where batches are answered: one seam, one method, one module per place."""
