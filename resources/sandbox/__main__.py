"""The sandbox as a separate process: `python -m resources.sandbox --port 4599 --scale 60`.

When it serves requests and its foundation exists, it writes one line of JSON (pid, endpoint_url,
control_url, clock_url) to standard output and closes it. It ends on SIGTERM, Ctrl-C, or a POST to
/shutdown of its control API.
"""

import argparse
import json
import os
import signal
import sys

from resources.aws.clients import AwsClients
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import CREDENTIALS, SandboxConfig
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws


def main() -> None:
    """Run until a signal or a POST to /shutdown."""
    config = SandboxConfig(**vars(_arguments()))
    with Sandbox(config) as sandbox:
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda *_: sandbox.stop_requested.set())
        os.environ.update(CREDENTIALS)
        aws = Aws(region=config.region, name=config.name, endpoint_url=sandbox.endpoint_url)
        prepare_foundation(AwsClients(aws), config.name, config.region)
        _print_ready(sandbox)
        sandbox.stop_requested.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m resources.sandbox", description=__doc__)
    defaults = SandboxConfig()
    parser.add_argument("--port", type=int, default=defaults.port)
    parser.add_argument("--scale", type=float, default=defaults.scale)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--name", default=defaults.name)
    parser.add_argument("--region", default=defaults.region)
    return parser.parse_args()


def _print_ready(sandbox: Sandbox) -> None:
    facts = {
        "pid": os.getpid(),
        "endpoint_url": sandbox.endpoint_url,
        "control_url": sandbox.control_url,
        "clock_url": sandbox.clock_url,
    }
    print(json.dumps(facts), flush=True)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())


if __name__ == "__main__":
    main()
