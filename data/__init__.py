"""Files the package ships: prices, with their sources and dates."""
