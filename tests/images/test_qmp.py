# SPDX-License-Identifier: Apache-2.0
"""QEMU's QMP socket, and who else may answer there; a real machine is in inspection/linux/test_booted.py."""

import contextlib
import json
import socket
import threading

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.errors import UnusableInput
from gicmodel.images import qmp
from gicmodel.images.qmp import Machine

GREETING = {"QMP": {"version": {}, "capabilities": []}}
ANSWERS = {"qmp_capabilities": {}, "query-status": {"running": True}, "query-kvm": {"enabled": False}}
MAP = (
    'FlatView #1\n AS "memory", root: system\n Root memory region: system\n'
    "  0000000040000000-0000000040000fff (prio 0, ram): mach-virt.ram\n"
)


@pytest.fixture
def server(tmp_path):
    """Start who answers each command with what a dict has for it, bytes as they are."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "qmp"))
    listener.listen(1)
    threads = []

    def start(greeting, answers):
        def serve():
            connection, _ = listener.accept()
            # Who is refused may leave in the middle.
            with contextlib.suppress(OSError), connection, connection.makefile("rwb", buffering=0) as file:
                file.write(greeting if isinstance(greeting, bytes) else json.dumps(greeting).encode() + b"\n")
                decoder, text = json.JSONDecoder(), ""
                while greeting and (more := connection.recv(4096)):
                    text += more.decode()
                    while text:
                        try:
                            command, end = decoder.raw_decode(text)
                        except ValueError:
                            break
                        text = text[end:]
                        answer = answers.get(command["execute"], {"error": {"class": "CommandNotFound"}})
                        if callable(answer):
                            answer = answer(**command["arguments"])
                        if not isinstance(answer, bytes):
                            refused = isinstance(answer, dict) and "error" in answer
                            answer = json.dumps(answer if refused else {"return": answer}).encode() + b"\n"
                        file.write(answer)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return tmp_path / "qmp"

    yield start
    listener.close()


def test_ram_and_a_refusal(server):
    def save(val, size, filename):
        with open(filename, "wb") as file:  # noqa: PTH123
            file.write(bytes([val >> 24]) * size)

    path = server(GREETING, {**ANSWERS, "human-monitor-command": MAP, "pmemsave": save})
    with Machine(path) as machine:
        assert (machine.running, machine.emulated) == (True, True)
        dump = machine.dump()
        assert [(segment.address, segment.end) for segment in dump.segments] == [(0x4000_0000, 0x4000_1000)]
        assert dump.read(0x4000_0000, 0x1000)[0].tolist() == [0x40] * 0x1000
        with pytest.raises(UnusableInput, match=r"QEMU refuses quit: .*CommandNotFound"):
            machine.execute("quit")


@pytest.mark.parametrize(
    ("greeting", "answers", "refused"),
    [
        (b"", {}, "no QMP of QEMU|does not answer"),
        (b"SSH-2.0-OpenSSH\n", {}, "no QMP of QEMU"),
        (b"[" * 100_000 + b"\n", {}, "no QMP of QEMU"),
        ([], {}, "no QMP of QEMU"),
        ({"event": "STOP"}, {}, "no QMP of QEMU"),
        (GREETING, {}, "QEMU refuses qmp_capabilities"),
        (GREETING, {**ANSWERS, "query-status": [1]}, "does not tell 'running'"),
        (GREETING, {**ANSWERS, "query-kvm": {}}, "does not tell 'enabled'"),
        (GREETING, {**ANSWERS, "query-status": b'{"event": 1}\n' * 2000}, "QEMU does not answer query-status"),
        (GREETING, {**ANSWERS, "human-monitor-command": 5}, "something else than text"),
        (GREETING, {**ANSWERS, "human-monitor-command": ""}, "does not tell where the machine's RAM is"),
        (GREETING, {**ANSWERS, "human-monitor-command": MAP.replace("fff (", "fff(")}, "does not tell where"),
        (
            GREETING,
            {**ANSWERS, "human-monitor-command": MAP.replace("0000000040000fff", "ffffffffffffffff")},
            "does not tell where",
        ),
        (
            GREETING,
            {**ANSWERS, "human-monitor-command": MAP.replace("0000000040000fff", "0007ffffffffffff")},
            "has no room for",
        ),
        (GREETING, {**ANSWERS, "human-monitor-command": MAP}, "QEMU refuses pmemsave"),
        (GREETING, {**ANSWERS, "human-monitor-command": MAP, "pmemsave": {}}, "QEMU saved 0x0 of 0x1000 bytes"),
    ],
)
def test_another_who_answers_is_one_line(server, greeting, answers, refused):
    path = server(greeting, answers)
    result = CliRunner().invoke(main, ["inspect", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert any(part in result.stderr for part in refused.split("|")), result.stderr


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(qmp, "SECONDS", 0.2)
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "silent"))
    with pytest.raises(UnusableInput, match="QEMU does not answer there: Connection refused"):
        Machine(tmp_path / "silent")
    silent.listen(1)
    with pytest.raises(UnusableInput, match="QEMU does not answer there: timed out"):
        Machine(tmp_path / "silent")
    silent.close()


def test_a_name_that_is_too_long_is_one_line():
    result = CliRunner().invoke(main, ["inspect", "x" * 300 + "@0x0"])
    assert result.exit_code == 2
    assert "File name too long" in result.stderr
