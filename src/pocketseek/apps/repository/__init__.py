"""Models from elsewhere and kept whole: where packages are published, fetching them, repairing them."""
