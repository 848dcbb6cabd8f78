"""Which of several models answers a request: routing policies, and the routers they make."""
