"""What can go wrong when a model is fetched.

- StorageError: it will not get better by itself; the message names the next step
    - NothingFound: the place answers and holds no model there
- Interrupted: a fault of the world, worth another attempt from where it broke off
"""


class StorageError(Exception):
    pass


class NothingFound(StorageError):
    pass


class Interrupted(Exception):
    pass
