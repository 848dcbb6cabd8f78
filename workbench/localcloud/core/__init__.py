"""What all services of the local cloud share: protocol, validation, paging and storage."""
