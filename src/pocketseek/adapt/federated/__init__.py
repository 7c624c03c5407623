"""Learning together: many devices train one adapter, each on data that stays with it. Modules whose names begin with
flower_ need Flower and run in an environment of their own (environment.py); the rest decides and computes without."""
