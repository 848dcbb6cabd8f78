"""Published evaluations of batching and routing, computed again and put beside ours."""
