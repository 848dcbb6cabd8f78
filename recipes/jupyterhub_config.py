"""JupyterHub for a class on one machine, without root.

    pip install jupyterhub && npm install --global configurable-http-proxy
    CLASS_PASSWORD=... CLASS_FOLDER=... jupyterhub -f recipes/jupyterhub_config.py

Students choose their own names and share the password. All run as whoever starts the hub, so the
names keep folders apart and nothing more: this is for a class, not for strangers. A name may be in
any script; it begins with a letter or a digit, has no slash, and at most 63 characters. A student
takes a server and a kernel, 0.5 GB together; what is idle for half an hour is ended. The ready-made
models are trained once, into a registry that the class shares.
"""

import os
import sys
from pathlib import Path

from workbench.cli.lab import copy_notebooks

FOLDER = Path(os.environ.get("CLASS_FOLDER", "class")).absolute()
STUDENTS = FOLDER / "students"
IDLE_TIMEOUT = 1800  # seconds


c = get_config()  # noqa: F821 - it is given by JupyterHub
c.JupyterHub.bind_url = os.environ.get("CLASS_URL", "http://127.0.0.1:8000")
c.JupyterHub.cookie_secret_file = str(FOLDER / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{FOLDER / 'hub.sqlite'}"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["CLASS_PASSWORD"]
c.Authenticator.allow_all = True
# A name is that of a folder: 255 bytes, and a letter takes four at most. None may turn the order of
# what is shown beside it.
c.Authenticator.username_pattern = r"^[^\W_][^/\\\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]{0,62}\Z"
c.JupyterHub.template_vars = {
    "announcement_login": "A name begins with a letter or a digit, and has no slash and at most 63"
    " characters. All share one password."
}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(STUDENTS / "{username}")
c.Spawner.pre_spawn_hook = lambda spawner: copy_notebooks(STUDENTS / spawner.user.name)
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.default_url = "/lab/tree/00-quickstart.ipynb"
c.Spawner.environment = {"WORKBENCH_HOME": str(FOLDER / "registry")}
c.Spawner.start_timeout = c.Spawner.http_timeout = 180  # seconds; a class begins all at once
c.Spawner.args = [
    *(["--allow-root"] if os.getuid() == 0 else []),
    f"--MappingKernelManager.cull_idle_timeout={IDLE_TIMEOUT}",
    f"--ServerApp.shutdown_no_activity_timeout={2 * IDLE_TIMEOUT}",
]
FOLDER.mkdir(parents=True, exist_ok=True)
