"""Checkpoints come as often as asked for, less often where writing them takes long."""

import pytest

from tests.training.tiny import AT, trainer


@pytest.mark.parametrize(
    ("every_s", "writing_s", "times"),
    [
        (10, 0, 10),  # of 100 updates of 1 s
        (10, 2, 3),  # 2 s are a twentieth of 40 s
        (2, 60, 2),  # a minute would be a twentieth of 20, but thirty times 2 s are the most
        (0, 2, 100),  # after every update, whatever it takes
    ],
)
def test_writing_takes_a_twentieth_of_the_time(tmp_path, monkeypatch, every_s, writing_s, times):
    clock, written = [0.0], []
    one = trainer(tmp_path, AT | {"epochs": 100}, checkpoint_every_s=every_s)
    update = one._update

    def slow_update(*arguments):
        clock[0] += 1
        update(*arguments)

    def write():
        clock[0] += writing_s
        written.append(clock[0])

    monkeypatch.setattr(one, "_update", slow_update)
    monkeypatch.setattr(one, "_write_checkpoint", write)
    monkeypatch.setattr("robustseg.training.loop.monotonic", lambda: clock[0])
    one.run()
    assert len(written) == times
