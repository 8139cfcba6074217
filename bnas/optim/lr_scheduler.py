"""Learning rates that change while a network trains, as a function or as objects of torch.optim.lr_scheduler."""

import math


def cosine_schedule(step, steps, peak, warmup=0, floor=0.0):
    """Learning rate of step 0 ... steps - 1: linear up to `peak` over `warmup` steps, then a cosine
    down to `floor` (Loshchilov & Hutter 2017).
    """
    if not 0 <= warmup <= steps or not 0 <= step < steps:
        raise ValueError(
            f"cosine_schedule: expected 0 <= step < steps and 0 <= warmup <= steps, got step={step}, "
            f"steps={steps}, warmup={warmup}"
        )
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return _half_cosine(progress, peak, floor)


def _half_cosine(progress, peak, floor):
    """From `peak` at progress 0 down to `floor` at 1."""
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class _Schedule:
    """A learning rate as a function of the calls of `step`. Subclasses define rate(steps) -> learning rate.

    Args:
        optimiser: whose attribute `lr` is set, at once and by every `step`; `base` is what it was.
    """

    def __init__(self, optimiser):
        self.optimiser, self.base, self.steps = optimiser, optimiser.lr, -1
        self.step()

    def step(self):
        """Go on to the next learning rate."""
        self.steps += 1
        self.optimiser.lr = self.rate(self.steps)

    def get_last_lr(self):
        """The learning rate in force, in a list as in PyTorch."""
        return [self.optimiser.lr]

    def state_dict(self):
        """{name: number}: what `load_state_dict` needs to go on from here."""
        return {"base": self.base, "steps": self.steps}

    def load_state_dict(self, state):
        """Take over what `state_dict` gave, and set the learning rate."""
        self.base, self.steps = state["base"], state["steps"] - 1
        self.step()

    def __repr__(self):
        return f"{type(self).__name__}(lr={self.optimiser.lr:.6g} after {self.steps} steps of {self.base:g})"


class LambdaLR(_Schedule):
    """The first learning rate times factor(n), a function int -> float, after n steps."""

    def __init__(self, optimiser, factor):
        self.factor = factor
        super().__init__(optimiser)

    def rate(self, steps):
        return self.base * self.factor(steps)


class StepLR(_Schedule):
    """The learning rate times `gamma` after every `step_size` steps."""

    def __init__(self, optimiser, step_size, gamma=0.1):
        if not step_size >= 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimiser)

    def rate(self, steps):
        return self.base * self.gamma ** (steps // self.step_size)


class CosineAnnealingLR(_Schedule):
    """From the optimiser's learning rate down to `eta_min` along half a cosine of `T_max` steps, and up again.

    Source: Loshchilov & Hutter 2017.
    """

    def __init__(self, optimiser, T_max, eta_min=0.0):
        if not T_max >= 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimiser)

    def rate(self, steps):
        return _half_cosine(steps / self.T_max, self.base, self.eta_min)
