"""Fault 3.8: the notebook client hung after a fork.

A user who connects in a notebook and then lets multiprocessing, joblib or PyTorch's loaders fork expects that the
client works in the child, or says why not: a fork takes no threads along. The parent's client has to stay as it was.
"""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

from mltm.contract.states import State
from mltm.notebook import SyncClient
from tests.mltm.client.build import open_client
from tests.mltm.client.fake_gateway import TASK_ID, TOKEN, FakeGateway, Log, build_task

HEAD = """
import gc, multiprocessing, os, sys, warnings
from concurrent.futures import ProcessPoolExecutor
from mltm.notebook import connect
warnings.filterwarnings("ignore", "This process", DeprecationWarning)
TASK = sys.argv[1]

def ask():
    return client.whoami().username

def in_child(work):
    child = os.fork()
    if child == 0:
        print(work(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)

if __name__ == "__main__":
    client = connect()
    ask()
"""
CASES = {
    "3.8: os.fork": "in_child(ask); print(ask())",
    "3.8: multiprocessing": """
        child = multiprocessing.get_context("fork").Process(target=lambda: print(ask(), flush=True))
        child.start(); child.join(); print(ask())""",
    "3.8: a pool": """
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            print(*pool.map(os.path.basename, ["x"]), file=sys.stderr)
            for answer in [pool.submit(ask), pool.submit(ask)]: print(answer.result())""",
    "3.8: a child of a child": "in_child(lambda: in_child(ask) or ask())",
    "3.8: twice in one child": "in_child(lambda: ask() and ask()); print(ask())",
    "3.8: the child ends as programs do": """
        child = os.fork()
        print(ask(), flush=True)
        if child == 0: sys.exit(0)
        os.waitpid(child, 0)
        ask()""",
    "3.8: the child drops its client": """
        def drop():
            global client
            client = None; gc.collect()
            return "ada"
        in_child(drop); print(ask())""",
    "3.8: the child closes its client": """
        def close():
            ask(); client.close()
            return "ada"
        in_child(close); print(ask())""",
    "3.8: closed before its first use in the child": """
        in_child(lambda: client.close() or "ada"); print(ask())""",
    "3.8: in the middle of a log": """
        chunks = client.follow_log(TASK)
        next(chunks)
        in_child(lambda: len(list(chunks)) and ask()); print(len(list(chunks)) and ask())""",
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_both_sides_of_a_fork_go_on(gateway: FakeGateway, case: str) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING), build_task(State.RUNNING), build_task(State.SUCCEEDED)]
    gateway.logs = {1: [Log(((0, b"one"),), final=False), Log(((0, b"one, two, three"),))]}
    env = {**os.environ, "MLTM_URL": gateway.url, "MLTM_TOKEN": TOKEN}
    body = "\n".join(line.removeprefix("    ") for line in case.splitlines()) if "\n" in case else f"    {case}"
    ran = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", HEAD + body, TASK_ID], env=env, capture_output=True,
        timeout=40, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr.replace(b"x\n", b"")) == (0, b""), ran.stderr.decode()
    assert ran.stdout.split() == [b"ada", b"ada"]


def test_a_closed_client_says_so(gateway: FakeGateway) -> None:
    client = SyncClient(open_client(gateway))
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match=r"This client is closed. Call connect\(\) again."):
        client.whoami()


def test_a_client_that_would_wait_for_itself_says_so(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.SUCCEEDED)]
    answers: list[object] = []
    with SyncClient(open_client(gateway)) as client:
        with pytest.raises(RuntimeError, match="waits for the function that calls it, such as on_change"):
            client.wait(TASK_ID, lambda task: answers.append(client.cancel(task.task_id)))
        assert client.whoami().username == "ada"


@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy", "spawn"])
def test_a_client_is_not_sent_to_another_process(gateway: FakeGateway, way: str) -> None:
    def spawn(client: SyncClient) -> None:
        multiprocessing.get_context("spawn").Process(target=print, args=(client,)).start()

    ways: dict[str, Callable[[SyncClient], object]] = {
        "pickle": pickle.dumps, "copy": copy.copy, "deepcopy": copy.deepcopy, "spawn": spawn
    }  # fmt: skip
    with (
        SyncClient(open_client(gateway)) as client,
        pytest.raises(TypeError, match=r"Call connect\(\) in that process"),
    ):
        ways[way](client)
