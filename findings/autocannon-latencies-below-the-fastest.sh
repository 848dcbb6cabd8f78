#!/bin/sh
# autocannon 9.0.0: with a rate, the median latency of a server that always takes 100 ms is about 50 ms, and the least 1 ms.
#
# Guessed: with overallRate or connectionRate latencies are corrected for requests that could not be sent in time (coordinated
# omission, as its page says), so that they can only be longer than those measured; where the server keeps up, nothing is corrected,
# and there is one latency a request.
# Seen: the interval that is expected between requests, 1 / rate, is in seconds and is given to the histogram as milliseconds, rounded
# up: 1 ms, whatever the rate. For each request of 100 ms it adds 99, 98, ... 1 ms. At 20 requests a second, 60 requests are some
# 6,000 latencies: median and mean are half of what was measured. With ignoreCoordinatedOmission there are 60, and none below 100 ms.
# What it means here: a latency counts from the instant its request was due, for each request once: `Run`, and site/howto/coming-from.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit autocannon@9.0.0 >log 2>&1 || { tail -n 5 log; exit 1; }

cat > measure.js <<'JS'
const assert = require("node:assert");
const autocannon = require("autocannon");
const http = require("node:http");

async function main() {
  const server = http.createServer((_, response) => setTimeout(() => response.end("label"), 100)).listen(0, "127.0.0.1");
  await new Promise((listening) => server.on("listening", listening));
  const url = `http://127.0.0.1:${server.address().port}`;
  const found = {};
  for (const [name, options] of Object.entries({
    "no rate": {},
    "20 a second": { overallRate: 20 },
    "2 a second and connection": { connectionRate: 2 },
    "20 a second, not corrected": { overallRate: 20, ignoreCoordinatedOmission: true },
  })) {
    const { latency, requests } = await autocannon({ url, connections: 10, duration: 3, ...options });
    found[name] = { requests: requests.total, latencies: latency.totalCount, least: latency.min, median: latency.p50 };
    console.log(name, found[name]);
  }
  for (const name of ["no rate", "20 a second, not corrected"]) {
    assert(found[name].least >= 99 && found[name].latencies === found[name].requests);
  }
  for (const name of ["20 a second", "2 a second and connection"]) {
    const { requests, latencies, least, median } = found[name];
    // a busy machine takes longer than 100 ms: the median is half of it all the same
    assert(least === 1 && latencies > 50 * requests && median < 99, name);
  }
  process.exit(0);
}

main();
JS
node measure.js
echo "still so: with a rate, most latencies are of requests that nobody sent"
