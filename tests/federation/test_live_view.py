from covey.federation.live_view import PAUSE, LiveView


class Drawn:
    """What a run is asked for; drawing takes `takes_s` of a clock that stands still else."""

    def __init__(self, job, takes_s=0.0, able=True):
        self.job, self.now, self.count, self.takes_s, self.able = job, 0.0, 0, takes_s, able
        self.tables = 0

    def table(self, name, data):
        assert (name, data) == ("some.json", b"{}")
        self.tables += 1

    def draw_pictures(self):
        self.count += 1
        self.now += self.takes_s
        return self.able

    def played(self, seconds):
        """Seconds, one round each, after which it was drawn."""
        view, found = LiveView(self, lambda: self.now), []
        view.begin()
        while self.now < seconds:
            before = self.count
            self.now += 1
            at = self.now
            view.look(lambda: {"some.json": b"{}"})
            assert self.tables == self.count, "the table is written whenever it is drawn, not else"
            found += [at] if self.count > before else []
        return found


def test_pictures_come_every_so_often_and_never_take_much_of_the_time(parse):
    job = parse(federated={"viewer": {"every_s": 3}})
    assert Drawn(job).played(10) == [3, 6, 9]
    assert Drawn(job, takes_s=1).played(50) == [3, 4 + PAUSE, 5 + 2 * PAUSE]


def test_none_if_not_wanted_and_not_again_if_it_cannot_be(parse):
    assert Drawn(parse(federated={"viewer": {"every_s": None}})).played(50) == []
    assert Drawn(parse(), able=False).played(50) == [10]


def test_a_run_that_goes_on_has_its_pictures(train, monkeypatch):
    drawn = []
    monkeypatch.setattr("covey.platform.runs.plots.draw_pictures", drawn.append)
    run = train("logistic", rounds=4, federated={"viewer": {"every_s": 1e-9}})
    assert drawn[-1] == run.path
    assert len(drawn) >= 2, "one at least before the end's"
