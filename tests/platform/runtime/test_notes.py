"""Notes between processes: the newest is read, once, whole."""

import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from covey.platform.runtime.notes import ROOM, Notes

OTHER_END = """
import pickle, sys, time
from covey.platform.runtime.notes import Notes
there, back = (Notes.attach(handle) for handle in pickle.load(sys.stdin.buffer))
while (note := there.read()) != {}:
    if note is not None:
        back.write({"heard": note["said"]})
    time.sleep(0.001)
"""


def test_each_note_is_read_once_and_the_newest_counts():
    notes = Notes.create()
    reader = Notes.attach(notes.handle)
    assert reader.read() is None
    notes.write({"a": [1.5, None, float("inf")], "b": {"c": "ü"}})
    assert reader.read() == {"a": [1.5, None, float("inf")], "b": {"c": "ü"}}
    assert reader.read() is None
    notes.write({"number": np.float32(0.5)})
    notes.write({})
    assert reader.read() == {}


def test_a_note_that_is_too_long_is_refused_and_changes_nothing():
    notes = Notes.create()
    notes.write({"text": "x" * (ROOM - 20)})
    with pytest.raises(ValueError, match=f"there is room for {ROOM}"):
        notes.write({"text": "x" * ROOM})
    read = notes.read()
    assert read is not None and len(read["text"]) == ROOM - 20


def test_a_note_is_never_read_in_parts():
    notes = Notes.create()
    reader = Notes.attach(notes.handle)
    last = 300

    def write() -> None:
        for number in range(last + 1):
            notes.write({"number": number, "again": [number] * (number % 97)})

    writer = threading.Thread(target=write)
    writer.start()
    number = -1
    while number < last:
        note = reader.read()
        if note is not None:
            assert note["number"] > number
            number = note["number"]
            assert note["again"] == [number] * (number % 97)
    writer.join()


def test_two_processes_answer_each_other():
    there, back = Notes.create(), Notes.create()
    with subprocess.Popen([sys.executable, "-c", OTHER_END], stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        pickle.dump((there.handle, back.handle), child.stdin)
        child.stdin.close()
        for number in range(100):
            there.write({"said": number})
            while (note := back.read()) is None:
                assert child.poll() is None
            assert note == {"heard": number}
        there.write({})
        assert child.wait(120) == 0
