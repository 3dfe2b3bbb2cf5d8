#!/usr/bin/env python3
"""The distance that nodes make themselves against one that is made outside of them.

`bench compare` has no network: each node holds back what it sends (`--lab-delay-ms`). Here the same three
nodes run twice: once so, and once without any of it, behind a relay in another process that holds every
byte of both directions back for as long. The same load with the same seed runs against both, and what
clients see must be the same: latency of writes, and the time until other nodes show them.

    tests/outside_delay.py [--binary FILE] [--delay-ms 40] [--rate 100] [--duration 15s] [--tolerance 10]

Exit code 1: a median differs by more than the tolerance (in percent, or 3 ms where that is more).
Needs no privileges; nothing of the machine's own network is touched.
"""
import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

NODES = (1, 2, 3)


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


async def carry(reader, writer, delay):
    """Hands on each piece one delay after it came, without holding up what comes behind it."""
    due = asyncio.Queue(maxsize=4096)

    async def leave():
        while (piece := await due.get()) is not None:
            at, data = piece
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            writer.write(data)
            await writer.drain()
        writer.close()

    leaving = asyncio.create_task(leave())
    try:
        while data := await reader.read(65536):
            await due.put((time.monotonic() + delay, data))
    except ConnectionError:
        pass
    await due.put(None)
    await asyncio.gather(leaving, return_exceptions=True)


async def relay(pairs, delay):
    async def serve(reader, writer, to):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
        except ConnectionError:
            writer.close()
            return
        for one in (writer, far_writer):
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(carry(reader, far_writer, delay), carry(far_reader, writer, delay))

    servers = [
        await asyncio.start_server(lambda r, w, to=to: serve(r, w, to), "127.0.0.1", at)
        for at, to in pairs
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


class Arm:
    """Three nodes whose distance is made in one of the two ways."""

    def __init__(self, args, outside):
        self.work = tempfile.TemporaryDirectory(prefix="outside-delay-")
        self.children, ports = [], free_ports(6)
        self.ports, relays = ports[:3], ports[3:]
        if outside:
            self.relay = os.fork()
            if self.relay == 0:
                try:
                    asyncio.run(relay(list(zip(relays, self.ports)), args.delay_ms / 1000))
                finally:
                    os._exit(0)
        else:
            self.relay = None
        told = relays if outside else self.ports
        founders = ",".join(f"{node}=127.0.0.1:{port}" for node, port in zip(NODES, told))
        for node, port, at in zip(NODES, self.ports, told):
            command = [args.binary, "serve", "--node", str(node), "--data-dir", f"{self.work.name}/{node}"]
            command += ["--listen", f"127.0.0.1:{port}", "--founders", founders, "--log-level", "warn"]
            command += ["--advertise", f"127.0.0.1:{at}"] if outside else []
            if not outside:
                command += ["--lab-seed", str(node), "--lab-delay-ms", str(args.delay_ms)]
            log = open(f"{self.work.name}/{node}.log", "wb")
            self.children.append(subprocess.Popen(command, stdout=log, stderr=log))
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        for url in self.urls:
            self.wait(url)

    def wait(self, url):
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"{url} does not become ready; see {self.work.name}")

    def end(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()
        if self.relay:
            os.kill(self.relay, signal.SIGTERM)
            os.waitpid(self.relay, 0)
        self.work.cleanup()


def load(args, arm, mode):
    command = [args.binary, "bench", "load", "--endpoint", ",".join(arm.urls), "--mode", mode, "--json"]
    command += ["--workload", "ycsb-a", "--rate", str(args.rate), "--duration", args.duration]
    command += ["--seed", "7", "--rtt-ms", str(2 * args.delay_ms)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{mode}: {done.stderr}")
    run = json.loads(done.stdout)["runs"][0]
    seen = run["visibility"]["cdf"]
    at = lambda share: next((ms for ms, there in seen if there >= share), float("nan"))
    write, read = run["ops"]["write"]["latency"], run["ops"]["read"]["latency"]
    loss = run.get("loss") or {}
    return {
        "write p50": write["p50"], "write p99": write["p99"], "read p50": read["p50"],
        "visible p50": at(0.5), "visible p99": at(0.99), "direct loss %": 100 * loss.get("direct", 0),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/tetrarch")
    parser.add_argument("--delay-ms", type=int, default=40)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--duration", default="15s")
    parser.add_argument("--tolerance", type=float, default=10)
    args = parser.parse_args()
    modes, found = ["linearizable", "lww"], {}
    for outside in (False, True):
        arm = Arm(args, outside)
        try:
            for mode in modes:
                found[mode, outside] = load(args, arm, mode)
        finally:
            arm.end()
    far = False
    print(f"{args.delay_ms} ms each way, {args.rate:g} operations/s, milliseconds")
    print(f"{'mode':<14}{'figure':<16}{'by the nodes':>14}{'by the relay':>14}{'differs':>10}")
    for mode in modes:
        for figure, own in found[mode, False].items():
            other = found[mode, True][figure]
            differs = abs(other - own)
            print(f"{mode:<14}{figure:<16}{own:>14.2f}{other:>14.2f}{differs:>10.2f}")
            if figure in ("write p50", "visible p50"):
                far |= differs > max(3.0, args.tolerance / 100 * own)
    print("they differ" if far else "the medians agree")
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
