"""Bytes with a fault, as disks, networks and editors leave them."""


def mutated(data, source):
    """Return bytes with one fault, or a few."""
    data = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 4))):
        # Headers are small and numbers many: half of the faults are near the ends of the file.
        near = source.choice((len(data), len(data), 400, -400))
        place = source.randrange(near) if near > 0 else len(data) + source.randrange(near, 0)
        place = max(0, min(place, len(data) - 1))
        length = source.choice((1, 4, 8, 64, 1000))
        match source.choice(("flip", "flip", "cut", "insert", "remove", "repeat", "fill")):
            case "flip":
                data[place] ^= 1 << source.randrange(8)
            case "cut":
                del data[place + 1 :]
            case "insert":
                data[place:place] = source.randbytes(length)
            case "remove":
                del data[place : place + length]
            case "repeat":
                data[place:place] = data[place : place + length]
            case "fill":
                data[place : place + 8] = source.choice((b"\xff", b"\0")) * 8
        data = data or bytearray(b"\0")
    return bytes(data)
