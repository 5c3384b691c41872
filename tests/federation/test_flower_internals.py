"""Fails, and names the thing, when a new version of Flower has moved what ours leans on."""

import logging

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import message_size_mod
from flwr.serverapp.strategy import FedAvg, Strategy

from covey.federation import flower_internals as internals
from covey.federation.records import copy_records


def test_a_process_can_become_a_server_and_build_messages():
    internals.become_server()
    message = Message(RecordDict(), 2, "train")
    assert message.metadata.run_id == internals.RUN_ID, "Message no longer asks TaskIdentity"
    assert message.metadata.src_node_id == internals.SUPERLINK_NODE_ID


def test_a_message_can_be_given_an_id_that_replies_refer_to():
    internals.become_server()
    message = Message(RecordDict(), 2, "train")
    internals.set_message_id(message, "41")
    assert message.metadata.message_id == "41", "Metadata no longer keeps _message_id in __dict__"
    assert Message(RecordDict(), reply_to=message).metadata.reply_to_message_id == "41"


def test_an_empty_run_exists():
    assert internals.empty_run().run_id == internals.RUN_ID, "Run.create_empty has changed"


def all_kinds():
    return RecordDict(
        {
            "arrays": ArrayRecord({"b": Array(np.float32([1, 2])), "a": Array(np.array(3))}),
            "metrics": MetricRecord({"x": 1, "y": [0.5, 2.5], "z": float("inf")}),
            "config": ConfigRecord({"b": b"\x00", "s": ["a", "b"], "t": True, "n": -(2**62)}),
        }
    )


def test_records_survive_the_way_to_disk_and_back():
    records = all_kinds()
    content = internals.records_to_bytes(records)
    back = internals.records_from_bytes(content)
    assert back == records, "Flower's protobuf form of records has changed"
    assert list(back["arrays"]) == ["b", "a"], "the order of arrays is lost"
    assert internals.records_to_bytes(back) == content


def test_an_array_survives_the_way_to_disk_and_back():
    array = Array("odd", (3,), "another.kind", b"123")
    assert internals.array_from_bytes(internals.array_to_bytes(array)) == array


def test_start_can_be_replaced_for_all_strategies_and_put_back():
    original = Strategy.start
    undo = internals.replace_start(lambda self: "ours")
    assert FedAvg().start() == "ours", "FedAvg no longer inherits Strategy.start"
    undo()
    assert Strategy.start is original


def test_mods_around_a_training_are_seen():
    plain, around_all, around_train = ClientApp(), ClientApp(mods=[message_size_mod]), ClientApp()
    for app, mods in (plain, []), (around_all, []), (around_train, [message_size_mod]):
        app.train(mods=mods)(lambda message, context: message)
    assert internals.has_mods(around_all) and internals.has_mods(around_train), "make_ffn has moved"
    assert not internals.has_mods(plain) and not internals.has_mods(ClientApp())


def test_flowers_log_can_be_sent_elsewhere():
    seen = []
    handler = logging.Handler()
    handler.emit = seen.append
    undo = internals.log_elsewhere(handler)
    FedAvg().summary()
    undo()
    assert seen, "Flower logs through another logger now"
    assert handler not in internals.FLOWER_LOGGER.handlers


def test_a_copy_shares_nothing_that_can_change():
    records = all_kinds()
    copy = copy_records(records)
    assert copy == records
    copy["arrays"]["b"].data = b"changed"
    copy["arrays"]["new"] = Array(np.zeros(1))
    copy["metrics"]["y"].append(9.0)
    copy["config"]["s"][0] = "changed"
    copy["config"]["more"] = 1
    assert records == all_kinds()


def test_replies_are_what_flower_makes_of_the_same():
    internals.become_server()
    message = Message(RecordDict(), 2, "train")
    internals.set_message_id(message, "41")
    for content in all_kinds(), Error(3, "no luck"):
        ours, theirs = internals.reply_to(message, content), Message(content, reply_to=message)
        assert vars(ours).keys() == vars(theirs).keys(), "Message holds something else now"
        assert vars(ours)["_content"] is vars(theirs)["_content"]
        assert vars(ours)["_error"] is vars(theirs)["_error"]
        mine, its = vars(ours.metadata), vars(theirs.metadata)
        assert mine.keys() == its.keys()
        for name, value in its.items():
            if name in ("_created_at", "_ttl"):
                assert mine[name] == pytest.approx(value, abs=0.5)
            else:
                assert mine[name] == value, name


def test_a_delivered_message_is_another_with_the_same_in_it():
    internals.become_server()
    message = Message(all_kinds(), 2, "train")
    copy = internals.deliver(message)
    assert vars(copy.metadata) == vars(message.metadata)
    assert copy.metadata is not message.metadata
    assert copy.content == message.content and copy.content is not message.content
