#!/bin/sh
# wrk 4.1.0 (Debian): answers slower than its time-out of 2 s are in no percentile, though they come and are good.
#
# Guessed: a request that takes longer than --timeout fails and ends, or counts with its latency: of a service that takes 2.5 s for each
# twentieth request, such as for a cold start, the longest latency is 2.5 s and so is the 99th percentile.
# Seen: wrk waits for each answer and reads it, but leaves its latency out of mean, percentiles and maximum, and counts it as a time-out:
# the 99th percentile is that of the fast ones, tens of milliseconds, and so is the longest. With --timeout 10s both are 2.5 s. So
# the slower a service is, the better its percentiles, until one reads the line of socket errors below them.
# What it means here: a failed request is one that never ends in every percentile, and a slow one counts from the instant
# it was due: tests/test_quantiles.py, site/howto/coming-from.md.
set -eu
folder=$(mktemp -d)
trap 'kill ${server:-} 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q=2 wrk=4.1.0-3+b2 libluajit-5.1-2=2.1.0~beta3+git20220320+dfsg-4.1+deb12u1
for each in *.deb; do dpkg -x "$each" .; done

cat > server.py <<'PY'
import asyncio
import itertools

number = itertools.count(1)


async def answer(reader, writer):
    """Answer after 10 ms, and each twentieth request after 2.5 s."""
    while not reader.at_eof():
        try:
            await reader.readuntil(b"\r\n\r\n")
            slow = next(number) % 20 == 0
            await asyncio.sleep(2.5 if slow else 0.01)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            print("slow" if slow else "fast", flush=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            break


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(120)


asyncio.run(main())
PY
cat > look.py <<'PY'
import re
import sys

text, answered = open(sys.argv[1]).read(), open("answers").read().split()
seconds = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
worst, longest = (
    float(value) * seconds[unit]
    for value, unit in (
        re.search(r"99%\s+([\d.]+)(us|ms|s)\s", text).groups(),
        re.search(r"Latency(?:\s+\S+){2}\s+([\d.]+)(us|ms|s)", text).groups(),
    )
)
counted = re.search(r"timeout (\d+)", text)
late = int(counted.group(1)) if counted else 0
print(f"{sys.argv[2]}: p99 {'2.5 s or more' if worst > 2.4 else 'below 2 s'}, longest "
      f"{'2.5 s or more' if longest > 2.4 else 'below 2 s'}, {'some' if late else 'no'} time-outs")
assert answered.count("slow") >= 10
assert (worst < 2 and longest < 2 and late >= 10) if sys.argv[2] == "2s" else (worst > 2.4 and longest > 2.4 and not late)
PY
python3 server.py > answers &
server=$!
until [ -s answers ]; do sleep 0.2; done
for limit in 2s 10s; do
    LD_LIBRARY_PATH=$(dirname "$(find . -name 'libluajit*.so.2' | head -1)") usr/bin/wrk -t1 -c10 -d10s --timeout $limit \
        --latency "http://127.0.0.1:$(head -1 answers)/" > report
    python3 look.py report $limit
done
echo "still so: what takes longer than the time-out is in no percentile"
