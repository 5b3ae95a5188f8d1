"""Random seeds that follow from what they are for, never from the order of calls."""

import hashlib


def derive_seed(*parts: object) -> int:
    """Return a seed in [0, 2**63) that depends on nothing but `parts`, on any machine.

    A draw keyed by, say, (seed, image id, loss) is the same whoever shares its batch.
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
