"""How learning rate and radius change over a training."""


def learning_rate_factor(step: int, steps: int, warmup: float, power: float) -> float:
    """Return the factor on the base learning rate: linear warm-up, then polynomial decay to 0.

    Source: Table 5 of the paper (linear, "poly dec.", power).

    # ASSUME: per update, not per epoch; the decay starts at the end of the warm-up.

    Args:
        step: update, from 0.
        steps: number of updates.
        warmup: share of the updates that warm up.
        power: exponent of the decay.
    """
    warm = round(warmup * steps)
    if step < warm:
        return (step + 1) / warm
    return float((1 - (step - warm) / (steps - warm)) ** power)


def radius_factor(step: int, steps: int, ramp: float) -> float:
    """Return the factor on the attack's radius: it grows linearly over the first `ramp` of updates.

    A robust classifier of this size does not start to learn under the full radius.
    """
    return min(1.0, step / (ramp * steps)) if ramp else 1.0
