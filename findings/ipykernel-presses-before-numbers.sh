#!/bin/sh
# ipykernel 7.4.0 with @jupyterlab/services 7.6.6 (of JupyterLab 4.6.6): a press of a button overtakes the number typed before it.
#
# Guessed: what a page's controls send is handled in the order in which it was sent, on one thread, as it was before kernels had
# subshells; at most on the page's subshell, which all comms of one target share.
# Seen: the kernel hands a comm's message to the shell that sent on that comm last, whatever the page asks for. A control that only
# a cell has spoken to is heard on the main thread, behind a cell that runs; one that a handler has spoken to, such as a button
# that was enabled, is heard at once, on another thread. What was sent second is handled first, without what was sent first.
# What it means here: whoever typed a duration and pressed Run while a cell ran started a run of the duration before. Controls and
# buttons of the app go where the page sends them: `keep_in_order` in workbench/widgets/form.py, held by a test in
# tests/widgets/test_live_browser.py.
set -eu
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
server=
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jupyter_server==2.21.1 ipykernel==7.4.0
cd "$folder"
npm install --silent --no-fund --no-audit @jupyterlab/services@7.6.6 >log 2>&1 || { tail -n 5 log; exit 1; }

cat > comms.js <<'JS'
const { KernelManager, ServerConnection } = require("@jupyterlab/services");
const port = process.argv[2];
const serverSettings = ServerConnection.makeSettings({
  baseUrl: `http://127.0.0.1:${port}/`, wsUrl: `ws://127.0.0.1:${port}/`, token: "known",
});
const OPEN = `
import threading
import comm

def open_comm(name):
    made = comm.create_comm(target_name="control", data={"name": name})
    made.on_msg(lambda _: page.send([name, threading.current_thread() is threading.main_thread()]))
    return made

page, number, button = map(open_comm, ["page", "number", "button"])
page.on_msg(lambda _: button.send("enabled"))
`;

async function main() {
  const kernel = await new KernelManager({ serverSettings }).startNew({ name: "python3" });
  const comms = {}, heard = [];
  const names = ["page", "number", "button"];
  const wait = (there) => new Promise((resolve) => {
    const timer = setInterval(() => there() && (clearInterval(timer), resolve()), 20);
  });
  kernel.registerCommTarget("control", (each, opened) => {
    comms[opened.content.data.name] = each;
    each.onMsg = (message) => { heard.push(message.content.data); };
  });
  await kernel.requestExecute({ code: OPEN }).done;
  await wait(() => names.every((name) => comms[name] && comms[name].subshellId));
  comms.page.send("enable the button");
  await wait(() => heard.length === 1);
  kernel.requestExecute({ code: "import time; time.sleep(2)" });
  comms.number.send("typed");
  comms.button.send("pressed");
  await wait(() => heard.length === 3);
  for (const [name, onMain] of heard.slice(1)) console.log(`${name}: on ${onMain ? "the main" : "another"} thread`);
  const so = heard[1][0] === "button" && !heard[1][1] && heard[2][0] === "number" && heard[2][1];
  await kernel.shutdown();
  process.exit(so ? 0 : 1);
}
main();
JS
port=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
export JUPYTER_CONFIG_DIR="$folder/config" JUPYTER_DATA_DIR="$folder/data" JUPYTER_RUNTIME_DIR="$folder/runtime" IPYTHONDIR="$folder/ipython"
PATH="$folder/venv/bin:$PATH"
jupyter server --allow-root --no-browser --ip=127.0.0.1 --port="$port" --ServerApp.root_dir="$folder" \
	--IdentityProvider.token=known >server.log 2>&1 &
server=$!
for _ in $(seq 120); do
	python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/api?token=known')" 2>/dev/null && break
	sleep 0.5
done
timeout 120 node comms.js "$port" || { tail -n 5 server.log; exit 1; }
echo "still so: the press is handled before the number"
