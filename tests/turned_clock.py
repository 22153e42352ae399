"""A clock that only a test turns."""


class TurnedClock:
    def __init__(self, monotonic_s=1000.0, wall_s=1_700_000_000.0):
        self.now_s, self.date_s = monotonic_s, wall_s

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return self.date_s

    def turn(self, by_s):
        self.now_s += by_s
        self.date_s += by_s
